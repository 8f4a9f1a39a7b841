import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { JointMetrics } from '../../src/metrics/joint-metrics.js'
import { Metrics } from '../../src/metrics/metrics.js'

async function linesOf(metrics: Metrics, name: string): Promise<string[]> {
  const { body } = await metrics.expose()
  return body
    .split('\n')
    .filter((line) => line.startsWith(`fanfare_${name}{`) || line.startsWith(`fanfare_${name} `))
}

/** Metrics of a node with a value for every metric. */
function busyMetrics(): Metrics {
  const metrics = new Metrics('1.2.3')
  metrics.registerScrapeTimeGauges({
    backpressureBytes: () => 11,
    channels: () => 12,
    nodes: () => 13,
    pendingPresence: () => 14,
  })
  metrics.connections.raw.value++
  metrics.connectionsOpened.raw.value++
  metrics.countClose('raw', 1001)
  metrics.connectionRejections.inc({ reason: 'unauthorized' })
  metrics.authFailures.inc({ reason: 'expired' })
  metrics.heartbeatTimeouts.inc({ protocol: 'raw' })
  metrics.slowConsumerCloses.inc({ protocol: 'raw' })
  metrics.oversizedMessages.inc({ protocol: 'echo' })
  metrics.subscriptionGauge('').value++
  metrics.messagesReceived.raw.value += 3
  metrics.publicationCounter('chat', 'api').value += 2
  metrics.publicationCounter('', 'raw').value += 1
  metrics.deliveries.raw.value += 5
  metrics.deliveries.centrifuge.value += 4
  metrics.deliveredBytes.raw.value += 640
  metrics.publicationFailures.inc({ source: 'api', reason: 'timeout' })
  metrics.deliveryLag.observe(0.002)
  metrics.fanoutDuration.observe(0.0001)
  metrics.relayBatchSize.observe(17)
  metrics.relayMalformed.inc()
  metrics.relayQueueBytes.value = 0
  metrics.relayProbe.observe(0.001)
  metrics.redisUp.set({ shard: '0', role: 'publisher' }, 1)
  metrics.redisReconnects.inc({ shard: '0', role: 'publisher' })
  metrics.relayGaps.inc()
  metrics.commandDuration.subscribe.observe(0.001)
  metrics.commandErrors.inc({ command: 'subscribe', code: 103 })
  metrics.recoveries.inc({ result: 'recovered' })
  metrics.apiRequests.inc({ method: 'publish', code: 0 })
  metrics.apiDuration.observe({ method: 'publish' }, 0.01)
  return metrics
}

function expectPromtoolAccepts(exposition: string): void {
  const promtool = spawnSync('promtool', ['check', 'metrics'], { input: exposition, encoding: 'utf8' })
  expect(`${promtool.stdout}${promtool.stderr}`).toBe('')
  expect(promtool.status).toBe(0)
}

describe('the exposition', () => {
  it('is accepted by promtool', async () => {
    const { body } = await busyMetrics().expose()
    expectPromtoolAccepts(body)
  })

  it('is the text format of Prometheus', async () => {
    const { contentType } = await busyMetrics().expose()
    expect(contentType).toContain('text/plain; version=0.0.4')
  })

  it('has the names that operators rely on, and no metric twice', async () => {
    const { body } = await busyMetrics().expose()
    const names = [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name]) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toEqual(
      expect.arrayContaining(
        [
          'connections',
          'connections_opened_total',
          'connections_closed_total',
          'connection_rejections_total',
          'subscriptions',
          'channels',
          'nodes',
          'messages_received_total',
          'publications_total',
          'deliveries_total',
          'delivered_bytes_total',
          'delivery_lag_seconds',
          'fanout_duration_seconds',
          'api_requests_total',
          'api_duration_seconds',
          'auth_failures_total',
          'heartbeat_timeouts_total',
          'backpressure_bytes',
          'slow_consumer_closes_total',
          'relay_batch_size',
          'relay_gaps_total',
          'command_duration_seconds',
          'command_errors_total',
          'recoveries_total',
          'redis_up',
          'redis_reconnects_total',
          'relay_probe_seconds',
          'draining',
          'build_info',
        ].map((name) => `fanfare_${name}`),
      ),
    )
    for (const name of [
      'nodejs_eventloop_lag_p99_seconds',
      'process_open_fds',
      'process_resident_memory_bytes',
    ]) {
      expect(names).toContain(name)
    }
  })

  it('contains the counts of the hot path once, however often it is scraped', async () => {
    const metrics = busyMetrics()
    await metrics.expose()
    await metrics.expose()
    expect(await linesOf(metrics, 'messages_received_total')).toEqual([
      'fanfare_messages_received_total{protocol="raw"} 3',
      'fanfare_messages_received_total{protocol="echo"} 0',
      'fanfare_messages_received_total{protocol="centrifuge"} 0',
    ])
    expect(await linesOf(metrics, 'publications_total')).toEqual([
      'fanfare_publications_total{namespace="chat",source="api"} 2',
      'fanfare_publications_total{namespace="",source="raw"} 1',
    ])
    expect(await linesOf(metrics, 'delivered_bytes_total')).toEqual([
      'fanfare_delivered_bytes_total{protocol="raw"} 640',
      'fanfare_delivered_bytes_total{protocol="centrifuge"} 0',
    ])
  })

  it('has histograms whose buckets count all values up to their bound', async () => {
    const metrics = new Metrics('1.2.3')
    for (const seconds of [0.0005, 0.0006, 2.5, 3]) metrics.commandDuration.publish.observe(seconds)
    const { body } = await metrics.expose()
    const lines = body.split('\n').filter((line) => line.includes('command="publish"'))
    expect(lines).toHaveLength(15)
    expect(lines).toEqual(
      expect.arrayContaining([
        'fanfare_command_duration_seconds_bucket{le="0.0005",command="publish"} 1',
        'fanfare_command_duration_seconds_bucket{le="0.001",command="publish"} 2',
        'fanfare_command_duration_seconds_bucket{le="2.5",command="publish"} 3',
        'fanfare_command_duration_seconds_bucket{le="+Inf",command="publish"} 4',
        'fanfare_command_duration_seconds_sum{command="publish"} 5.5011',
        'fanfare_command_duration_seconds_count{command="publish"} 4',
      ]),
    )
  })

  it('reads gauges when it is scraped', async () => {
    let channels = 0
    const metrics = new Metrics('1.2.3')
    metrics.registerScrapeTimeGauges({
      backpressureBytes: () => 0,
      channels: () => channels,
      nodes: () => 1,
      pendingPresence: () => 0,
    })
    channels = 7
    expect(await linesOf(metrics, 'channels')).toEqual(['fanfare_channels 7'])
    channels = 0
    expect(await linesOf(metrics, 'channels')).toEqual(['fanfare_channels 0'])
  })

  it('contains the version, and whether the node drains', async () => {
    const metrics = busyMetrics()
    expect(await linesOf(metrics, 'build_info')).toEqual([
      `fanfare_build_info{version="1.2.3",node_version="${process.version}"} 1`,
    ])
    expect(await linesOf(metrics, 'draining')).toEqual(['fanfare_draining 0'])
  })

  it('is separate for two nodes of one process', async () => {
    const [one, other] = [new Metrics('1'), new Metrics('2')]
    one.deliveries.raw.value = 4
    expect(await linesOf(other, 'deliveries_total')).toEqual([
      'fanfare_deliveries_total{protocol="raw"} 0',
      'fanfare_deliveries_total{protocol="centrifuge"} 0',
    ])
  })
})

describe('close codes', () => {
  it('have a label each, by protocol', async () => {
    const metrics = new Metrics('1')
    metrics.countClose('raw', 1001)
    metrics.countClose('raw', 1001)
    metrics.countClose('echo', 1001)
    expect(await linesOf(metrics, 'connections_closed_total')).toEqual([
      'fanfare_connections_closed_total{protocol="raw",code="1001"} 2',
      'fanfare_connections_closed_total{protocol="echo",code="1001"} 1',
    ])
  })

  it('beyond the first hundred different codes share the label other', async () => {
    const metrics = new Metrics('1')
    for (let code = 4000; code < 5000; code++) metrics.countClose('raw', code)
    metrics.countClose('raw', 4000)
    const lines = await linesOf(metrics, 'connections_closed_total')
    expect(lines).toHaveLength(101)
    expect(lines).toContain('fanfare_connections_closed_total{protocol="raw",code="other"} 900')
    expect(lines).toContain('fanfare_connections_closed_total{protocol="raw",code="4000"} 2')
    for (const code of [1001, 3503]) {
      metrics.countClose('raw', code)
      expect(await linesOf(metrics, 'connections_closed_total')).toContain(
        `fanfare_connections_closed_total{protocol="raw",code="${code}"} 1`,
      )
    }
  })
})

describe('the metrics of several workers', () => {
  const sampleOf = (body: string, name: string) =>
    body
      .split('\n')
      .find((line) => line.startsWith(`fanfare_${name} `) || line.startsWith(`fanfare_${name}{`))

  it('are accepted by promtool', async () => {
    const joint = new JointMetrics()
    joint.addEndedWorker(await busyMetrics().snapshot())
    const { body } = await joint.expose([await busyMetrics().snapshot(), await busyMetrics().snapshot()])
    expectPromtoolAccepts(body)
  })

  it('include the counters of ended workers, but not their gauges', async () => {
    const joint = new JointMetrics()
    for (let ended = 0; ended < 10; ended++) joint.addEndedWorker(await busyMetrics().snapshot())
    joint.addEndedWorker(undefined)
    const { body } = await joint.expose([await busyMetrics().snapshot()])
    expect(sampleOf(body, 'deliveries_total')).toBe('fanfare_deliveries_total{protocol="raw"} 55')
    expect(sampleOf(body, 'relay_batch_size_sum')).toBe('fanfare_relay_batch_size_sum 187')
    expect(sampleOf(body, 'connections')).toBe('fanfare_connections{protocol="raw"} 1')
    expect(sampleOf(body, 'worker_restarts_total')).toBe('fanfare_worker_restarts_total 11')
  })

  it('are exposed while no worker runs', async () => {
    const joint = new JointMetrics()
    joint.addEndedWorker(await busyMetrics().snapshot())
    const { body } = await joint.expose([])
    expect(sampleOf(body, 'deliveries_total')).toBe('fanfare_deliveries_total{protocol="raw"} 5')
  })
})
