import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

/** Longer than the deadlines of a probe and of any request to Redis. */
const STALL_MS = 3_000

let redis: RedisServer
let node: FanfareProcess

beforeAll(async () => {
  redis = await RedisServer.start()
  node = await FanfareProcess.start({ FANFARE_REDIS_URL: redis.url, FANFARE_AUTH_TOKENS: 'secret' })
})
afterAll(async () => {
  node.child.kill('SIGCONT')
  await node.child.stop()
  await redis.remove()
})

it('does not count the time in which a node was stalled as silence of the relay', async () => {
  const probes = async () => metric(await node.metrics(), 'fanfare_relay_probe_seconds_count')
  const publisher = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' })
  const subscriber = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' })
  // So that a publication is on its way to Redis whenever the node is stopped.
  const publishing = setInterval(() => publisher.send('hello'), 1)
  await subscriber.next()
  node.child.kill('SIGSTOP')
  await sleep(STALL_MS)
  clearInterval(publishing)
  publisher.send('last')
  node.child.kill('SIGCONT')
  while ((await subscriber.nextText()) !== 'last');

  const before = await probes()
  await eventually(async () => (await probes()) > before + 1, 'probes are received')
  const exposition = await node.metrics()
  for (const role of ['publisher', 'subscriber']) {
    const labels = `{shard="0",role="${role}"}`
    expect(metric(exposition, 'fanfare_redis_up', labels)).toBe(1)
    expect(metric(exposition, 'fanfare_redis_reconnects_total', labels)).toBe(0)
  }
  expect(exposition).not.toContain('fanfare_publication_failures_total{')
  expect(node.child.output).not.toMatch(/the relay is silent|connection .*lost|cannot be reached/)
})
