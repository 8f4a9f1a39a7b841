import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { API_KEY, callApi } from '../support/api.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'
import { workersOf } from '../support/workers.js'

const CONNECTIONS = metricOf('fanfare_connections', '{protocol="raw"}')

function metricOf(name: string, labels = '') {
  return async (service: FanfareProcess) => metric(await service.metrics(), name, labels)
}

describe('fanfare serve --workers 3', () => {
  let redis: RedisServer
  let service: FanfareProcess
  const open = (path = '/ws/room') => RawClient.connect(`${service.wsUrl}${path}`, { token: 'secret' })
  const workerNodes = async () => {
    const { body } = await callApi(service, 'info', {})
    return body.result?.['nodes'] as { uid: string; num_clients: number }[]
  }
  const start = async (settings: Record<string, string> = {}) =>
    FanfareProcess.start({
      FANFARE_WORKERS: '3',
      FANFARE_PORT: String(await freePort()),
      FANFARE_REDIS_URL: redis.url,
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_API_KEY: API_KEY,
      ...settings,
    })

  beforeAll(async () => {
    redis = await RedisServer.start()
    service = await start()
  })
  afterAll(async () => {
    // With 0, although one of its workers was killed before.
    expect(await service.child.stop()).toEqual({ code: 0, signal: null })
    await redis.remove()
  })

  it('shares one port among three nodes, whose clients receive each other’s publications', async () => {
    const clients = await Promise.all(Array.from({ length: 60 }, () => open()))
    const nodes = await workerNodes()
    expect(nodes).toHaveLength(3)
    for (const { num_clients: clientsOfNode } of nodes) expect(clientsOfNode).toBeGreaterThan(0)
    const [publisher, ...subscribers] = clients
    publisher?.send('to all')
    for (const subscriber of subscribers) expect(await subscriber.nextText()).toBe('to all')
    for (const client of clients) client.close()
    await eventually(async () => (await CONNECTIONS(service)) === 0, 'all clients have disconnected')
  })

  it('exposes the metrics of all workers as one', async () => {
    const clients = await Promise.all(Array.from({ length: 30 }, () => open()))
    expect(await CONNECTIONS(service)).toBe(30)
    await eventually(
      async () => (await metricOf('fanfare_nodes')(service)) === 3,
      'each worker knows all three',
    )
    expect(await metricOf('fanfare_redis_up', '{shard="0",role="publisher"}')(service)).toBe(1)
    for (const client of clients) client.close()
  })

  it('restarts a killed worker, and serves clients meanwhile', async () => {
    // The counts of a worker are kept when it dies.
    const opened = metricOf('fanfare_connections_opened_total', '{protocol="raw"}')
    const openedBefore = await opened(service)
    expect(openedBefore).toBeGreaterThan(0)
    const restarted = service.child.nextLine(/a worker ended; starting another/)
    const [worker] = workersOf(service.child.pid)
    if (worker === undefined) throw new Error('there is no worker')
    process.kill(worker, 'SIGKILL')
    await restarted
    const client = await open()
    client.send('ping')
    expect(await client.nextText()).toBe('pong')
    await eventually(async () => {
      const nodes = await workerNodes()
      // The lease of the killed worker ends within 10 s.
      return nodes.length === 3
    }, 'there are three workers again')
    expect(await opened(service)).toBeGreaterThan(openedBefore)
    expect(await metricOf('fanfare_worker_restarts_total')(service)).toBe(1)
  })

  it('drains all workers together', async () => {
    const other = await start()
    const clients = await Promise.all(
      Array.from({ length: 30 }, () => RawClient.connect(`${other.wsUrl}/ws/room`, { token: 'secret' })),
    )
    other.child.kill('SIGTERM')
    for (const client of clients) expect(await client.closed).toEqual({ code: 1001, reason: 'Going away' })
    expect(await other.child.exited).toEqual({ code: 0, signal: null })
  })

  it('applies the channel_regex of a namespace in every worker', async () => {
    const other = await start({
      FANFARE_WORKERS: '2',
      FANFARE_AUTH_TOKENS: 'ann=secret',
      FANFARE_REDIS_PREFIX: 'with-namespaces',
      FANFARE_NAMESPACES: JSON.stringify([
        { name: 'n', channel_regex: '^\\d+$', allow_subscribe_for_client: true },
      ]),
    })
    const connect = (channel: string) =>
      RawClient.connect(`${other.wsUrl}/ws/${channel}`, { token: 'secret' })
    // The kernel spreads connections: of 40, each worker gets some.
    const clients = await Promise.all(Array.from({ length: 40 }, () => connect('n:17')))
    const { body } = await callApi(other, 'info', {})
    const nodes = body.result?.['nodes'] as { num_clients: number }[]
    expect(nodes.map(({ num_clients: clientsOfNode }) => clientsOfNode > 0)).toEqual([true, true])
    for (let attempt = 0; attempt < 10; attempt++) {
      expect(await refusalOf(connect('n:seventeen'))).toMatchObject({ status: 403 })
    }
    const sdk = await SdkClient.connect(other.wsUrl, { token: 'secret' })
    await sdk.subscribe('n:17')
    const refused = sdk.add('n:seventeen')
    expect(await refused.unsubscribed.first(1)).toMatchObject([{ code: 103 }])
    sdk.close()
    for (const client of clients) client.close()
    expect(await other.child.stop()).toEqual({ code: 0, signal: null })
  })

  it('ends on SIGTERM, even when its workers never listen', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'fanfare-workers-'))
    const script = join(directory, 'end-as-worker.cjs')
    writeFileSync(script, 'if (process.send !== undefined) process.exit(9)')
    const other = runFanfare(
      ['--workers', '2', '--port', String(await freePort()), '--internal-port', '0'],
      { FANFARE_REDIS_URL: redis.url, FANFARE_AUTH_TOKENS: 'secret', FANFARE_LOG_FORMAT: 'json' },
      { env: { NODE_OPTIONS: `--require ${script}` } },
    )
    await other.line(/a worker ended; starting another/)
    other.kill('SIGTERM')
    expect(await other.exited).toMatchObject({ signal: null })
    expect(other.output).toContain('"msg":"stopped"')
    rmSync(directory, { recursive: true })
  })

  it('prints one line when the port is taken', async () => {
    const late = runFanfare(['--workers', '2', '--port', String(service.port), '--internal-port', '0'], {
      FANFARE_REDIS_URL: redis.url,
      FANFARE_AUTH_TOKENS: 'secret',
    })
    expect(await late.exited).toEqual({ code: 1, signal: null })
    expect(late.output).toBe(
      `fanfare: cannot listen on 127.0.0.1:${service.port}: the port is taken by another process`,
    )
  })

  it('requires Redis', async () => {
    const alone = runFanfare(['--workers', '2'])
    expect(await alone.exited).toEqual({ code: 2, signal: null })
    expect(alone.output).toContain('--workers: above 1 needs FANFARE_REDIS_URL')
  })
})
