import { afterAll, beforeAll, expect, it } from 'vitest'
import { RedisServer } from '../support/redis-server.js'
import { clientInfo } from './publications.js'
import { RedisNode } from './redis-node.js'

/** Longer than Redis may take for any answer. */
const STALL_MS = 2_000

let redis: RedisServer
let node: RedisNode

beforeAll(async () => {
  redis = await RedisServer.start()
  node = new RedisNode(redis.url)
  await node.broker.subscribe('before')
})
afterAll(async () => {
  node.close()
  await redis.remove()
})

/** Keeps the event loop of this process from running, while Redis answers. */
async function stall(): Promise<void> {
  // What was asked has left by the second.
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  const untilMs = performance.now() + STALL_MS
  while (performance.now() < untilMs);
}

it('takes answers that Redis gave while the process stood still for answers in time', async () => {
  const query = { limit: 1, sinceOffset: undefined, isReverse: false, metaTtlMs: 60_000 }
  const asked = Promise.allSettled([
    node.broker.subscribe('room'),
    node.broker.history('room', query),
    node.peers.aliveNodes(),
    node.presence.add('room', clientInfo('c', 'ann')),
  ])
  await stall()
  expect((await asked).map((answer) => (answer.status === 'rejected' ? answer.reason : 'answered'))).toEqual(
    Array(4).fill('answered'),
  )
})
