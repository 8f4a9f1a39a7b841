import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { BrokerError } from '../../src/protocol/broker-error.js'
import { RedisServer } from '../support/redis-server.js'
import { eventually, publication } from './publications.js'
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

async function subscribeCalls(): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(/cmdstat_subscribe:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

it('publishes into 200,000 channels from one tick in pipelines of 10,000 messages, and answers each', async () => {
  const node = new RedisNode(redis.url, 'publisher', QUEUE_BYTES)
  await eventually(() => node.broker.publish('before', publication('hello')))
  const before = node.sent.messages
  const burst = Array.from({ length: 200_000 }, (_, index) =>
    node.broker.publish(`channel ${index}`, publication('hello')),
  )
  const answers = Promise.allSettled(burst)
  await Promise.allSettled([burst[0]])
  // What has left by the time that the first pipeline is answered is that pipeline.
  expect(node.sent.messages - before).toBe(10_000)
  const refused = (await answers).flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
  // A slow machine doesn't get all of it into Redis in time; nothing else may go wrong.
  expect(refused.filter((error) => !(error instanceof BrokerError))).toEqual([])
  expect(node.queuedBytes).toBe(0)
  await eventually(() => node.broker.publish('after', publication('hello')))
  node.close()
})

it('subscribes to 15,000 channels again, a thousand at a time, and is left alone while it makes progress', async () => {
  const node = new RedisNode(redis.url, 'subscriber')
  const names = Array.from({ length: 15_000 }, (_, index) => `channel ${index}`)
  await eventually(() => node.broker.subscribe('before'))
  await Promise.all(names.map((name) => eventually(() => node.broker.subscribe(name))))
  const callsBefore = await subscribeCalls()
  const reconnectionsBefore = await node.reconnections()

  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  const isBack = async () => (await admin.pubsub('NUMSUB', node.keys.channelEvents('channel 14999')))[1] === 1
  while (!(await isBack())) {
    // As when probes do not come back: a connection that is subscribing is not a dead one.
    node.peers.reconnect()
  }
  await node.broker.subscribe('after')
  await eventually(() => node.broker.publish('channel 0', publication('first')))
  await eventually(() => node.broker.publish('channel 14999', publication('last')))
  await node.recorder.until('channel 0', 1)
  await node.recorder.until('channel 14999', 1)
  expect((await node.reconnections()) - reconnectionsBefore).toBe(1)
  // All of it once, "before" and "after" included.
  expect((await subscribeCalls()) - callsBefore).toBe(17)
  node.close()
})
