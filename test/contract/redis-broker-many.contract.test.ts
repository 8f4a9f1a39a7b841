import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import { commandCalls } from './command-calls.js'
import { publication, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

const QUEUE_BYTES = 1024 ** 3

let redis: RedisServer
let admin: Redis

beforeAll(async () => {
  redis = await RedisServer.start()
  admin = new Redis(redis.url)
})
afterAll(async () => {
  admin.disconnect()
  await redis.remove()
})

it('publishes to 200,000 channels from one tick in pipelines of 10,000 messages, and answers each publication', async () => {
  const node = new RedisNode(redis.url, 'publisher', QUEUE_BYTES)
  await retryWhileRefused(() => node.broker.publish('before', publication('hello')))
  const before = node.sent.messages
  const burst = Array.from({ length: 200_000 }, (_, index) =>
    node.broker.publish(`channel ${index}`, publication('hello')),
  )
  const answers = Promise.allSettled(burst)
  await Promise.race(burst).catch(() => undefined)
  // Only the first pipeline is sent by the time that it is answered.
  expect(node.sent.messages - before).toBeGreaterThan(0)
  expect(node.sent.messages - before).toBeLessThanOrEqual(10_000)
  const refused = (await answers).flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
  // A slow machine may not send everything to Redis in time; no other error may happen.
  expect(refused.filter((error) => !(error instanceof BrokerError))).toEqual([])
  expect(node.queuedBytes).toBe(0)
  await retryWhileRefused(() => node.broker.publish('after', publication('hello')))
  node.close()
})

it('resubscribes to 15,000 channels, five hundred at a time, and does not reconnect while it makes progress', async () => {
  const node = new RedisNode(redis.url, 'subscriber')
  const names = Array.from({ length: 15_000 }, (_, index) => `channel ${index}`)
  await retryWhileRefused(() => node.broker.subscribe('before'))
  await Promise.all(names.map((name) => retryWhileRefused(() => node.broker.subscribe(name))))
  const callsBefore = await commandCalls(admin, 'subscribe')
  const reconnectionsBefore = await node.reconnections()

  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  const isResubscribed = async () =>
    (await admin.pubsub('NUMSUB', node.keys.channelEvents('channel 14999')))[1] === 1
  while (!(await isResubscribed())) {
    // As when probes are not received: a connection that is subscribing is not dead.
    node.peers.reconnect()
  }
  await node.broker.subscribe('after')
  await retryWhileRefused(() => node.broker.publish('channel 0', publication('first')))
  await retryWhileRefused(() => node.broker.publish('channel 14999', publication('last')))
  await node.recorder.until('channel 0', 1)
  await node.recorder.until('channel 14999', 1)
  expect((await node.reconnections()) - reconnectionsBefore).toBe(1)
  // Each channel once, including "before" and "after".
  expect((await commandCalls(admin, 'subscribe')) - callsBefore).toBe(32)
  node.close()
})
