import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { clientInfo, publication, refusal, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

/** The documented deadline of a request to Redis. */
const DEADLINE_MS = 2_000
const STEP_MS = 10

let redis: RedisServer
let node: RedisNode

beforeEach(async () => {
  redis = await RedisServer.start()
  // Before the node sets any timer: its time passes only as the test advances it.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  node = new RedisNode(redis.url)
  // The relay queue sends only once the master is identified.
  await retryWhileRefused(() => node.broker.publish('before', publication('before')))
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
    'a request for history',
    ({ broker }) =>
      broker.history('room', { limit: 1, sinceOffset: undefined, isReverse: false, metaTtlMs: 60_000 }),
    'unavailable',
  ],
  ['a request for nodes', ({ peers }) => peers.aliveNodes(), 'unavailable'],
  ['a change of presence', ({ presence }) => presence.add('room', clientInfo('c', 'ann')), 'unavailable'],
])('%s is refused within 2 s while Redis does not answer', async (_what, request, reason) => {
  redis.freeze()
  let outcome = 'pending'
  void refusal(request(node)).then((refused) => {
    outcome = refused.reason
  })
  for (let passedMs = 0; passedMs < DEADLINE_MS; passedMs += STEP_MS) {
    vi.advanceTimersByTime(STEP_MS)
    // Timers that are due take effect in this iteration of the event loop or in the next one.
    await new Promise(setImmediate)
    await new Promise(setImmediate)
  }
  expect(outcome).toBe(reason)
})
