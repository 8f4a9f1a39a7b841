import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { FanfareProcess } from '../support/fanfare-process.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { RedisServer } from '../support/redis-server.js'

/** Longer than a probe may take, and than any answer of Redis. */
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

it('takes the time in which a node stood still for no silence of the relay', async () => {
  const probes = async () => metric(await node.metrics(), 'fanfare_relay_probe_seconds_count')
  const speaker = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' })
  const listener = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' })
  // So that something is on its way to Redis whenever the node is stopped.
  const talk = setInterval(() => speaker.send('hello'), 1)
  await listener.next()
  node.child.kill('SIGSTOP')
  await sleep(STALL_MS)
  clearInterval(talk)
  speaker.send('last')
  node.child.kill('SIGCONT')
  while ((await listener.nextText()) !== 'last');

  const before = await probes()
  await eventually(async () => (await probes()) > before + 1, 'probes come back')
  const exposition = await node.metrics()
  for (const role of ['publisher', 'subscriber']) {
    const labels = `{shard="0",role="${role}"}`
    expect(metric(exposition, 'fanfare_redis_up', labels)).toBe(1)
    expect(metric(exposition, 'fanfare_redis_reconnects_total', labels)).toBe(0)
  }
  expect(exposition).not.toContain('fanfare_publication_failures_total{')
  expect(node.child.output).not.toMatch(/the relay is silent|connection .*lost|cannot be reached/)
})
