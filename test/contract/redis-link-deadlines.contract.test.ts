import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { RedisServer } from '../support/redis-server.js'
import { clientInfo, publication, refusal } from './publications.js'
import { RedisNode } from './redis-node.js'

/** What callers are promised. */
const PROMISE_MS = 2_000
const STEP_MS = 10

let redis: RedisServer
let node: RedisNode

beforeEach(async () => {
  redis = await RedisServer.start()
  node = new RedisNode(redis.url)
  await node.broker.subscribe('before')
  // The node's own, from now on: whatever the machine does, no more time passes than the test says.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(async () => {
  node.close()
  vi.useRealTimers()
  redis.resume()
  await redis.remove()
})

it.each<[string, (node: RedisNode) => Promise<unknown>, string]>([
  ['a publication', ({ broker }) => broker.publish('room', publication('maybe')), 'timeout'],
  ['a subscribe', ({ broker }) => broker.subscribe('room'), 'unavailable'],
  [
    'a question for history',
    ({ broker }) =>
      broker.history('room', { limit: 1, sinceOffset: undefined, isReverse: false, metaTtlMs: 60_000 }),
    'unavailable',
  ],
  ['a question for nodes', ({ peers }) => peers.aliveNodes(), 'unavailable'],
  ['a change of presence', ({ presence }) => presence.add('room', clientInfo('c', 'ann')), 'unavailable'],
])('%s is refused within 2 s while Redis does not answer', async (_what, ask, reason) => {
  redis.freeze()
  let outcome = 'pending'
  void refusal(ask(node)).then((refused) => {
    outcome = refused.reason
  })
  for (let passedMs = 0; passedMs < PROMISE_MS; passedMs += STEP_MS) {
    vi.advanceTimersByTime(STEP_MS)
    // What is due acts in this iteration of the loop or in the next.
    await new Promise(setImmediate)
    await new Promise(setImmediate)
  }
  expect(outcome).toBe(reason)
})
