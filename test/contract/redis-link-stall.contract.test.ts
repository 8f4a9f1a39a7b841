import { afterAll, beforeAll, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { clientInfo, publication, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

/** Longer than the deadline of any request to Redis. */
const STALL_MS = 2_000

let redis: RedisServer
let node: RedisNode

beforeAll(async () => {
  redis = await RedisServer.start()
  node = new RedisNode(redis.url)
  // Both connections are ready: the one that subscribes, and the one that publishes.
  await node.broker.subscribe('before')
  await retryWhileRefused(() => node.broker.publish('before', publication('before')))
})
afterAll(async () => {
  node.close()
  await redis.remove()
})

/** Blocks the event loop of this process while Redis answers. */
async function stall(): Promise<void> {
  // The requests are sent by the second iteration.
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  const untilMs = performance.now() + STALL_MS
  while (performance.now() < untilMs);
}

it('accepts the answers that Redis gave while the process was stalled', async () => {
  const query = { limit: 1, sinceOffset: undefined, isReverse: false, metaTtlMs: 60_000 }
  const requests = Promise.allSettled([
    node.broker.subscribe('room'),
    node.broker.history('room', query),
    node.peers.aliveNodes(),
    node.presence.add('room', clientInfo('c', 'ann')),
  ])
  await stall()
  expect(
    (await requests).map((answer) => (answer.status === 'rejected' ? answer.reason : 'answered')),
  ).toEqual(Array(4).fill('answered'))
})
