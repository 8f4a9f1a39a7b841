import { Redis } from 'ioredis'
import { describe, expect } from 'vitest'
import { CHANNEL, clusterTest, publishUntilReceived, QUEUE_BYTES } from './cluster-test.js'
import { publication, refusal, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

describe('while Redis is down', () => {
  clusterTest('publishes are refused as unavailable', async ({ redis, node }) => {
    await redis.stop()
    const refused = Array.from({ length: 50 }, () =>
      refusal(node.broker.publish(CHANNEL, publication('lost'))),
    )
    for (const { reason } of await Promise.all(refused)) {
      expect(reason).toBe('unavailable')
    }
    expect(node.queuedBytes).toBe(0)
  })

  clusterTest('a subscribe is refused as unavailable, and not repeated after the outage', async (cluster) => {
    const { redis, node } = cluster
    await redis.stop()
    const { reason } = await refusal(node.broker.subscribe('other'))
    expect(reason).toBe('unavailable')
    await redis.startAgain()
    await publishUntilReceived(cluster, 'back')
    const admin = new Redis(redis.url)
    expect(await admin.pubsub('CHANNELS', '*')).toEqual([node.keys.channelEvents(CHANNEL)])
    admin.disconnect()
  })

  clusterTest(
    'publications beyond the queue are refused at once as overloaded, and the queue is empty afterwards',
    async ({ redis, node }) => {
      await redis.stop()
      // The connection is known to be down once a publication waits and is refused.
      await refusal(node.broker.publish(CHANNEL, publication('lost')))
      const big = publication(Buffer.alloc(QUEUE_BYTES * 0.4))
      const waiting = [1, 2].map(() => refusal(node.broker.publish(CHANNEL, big)))
      expect(node.queuedBytes).toBeGreaterThan(QUEUE_BYTES * 0.8)
      const isWaiting = Symbol('the waiting publications have no answer yet')
      const { reason } = await refusal(node.broker.publish(CHANNEL, big))
      expect(reason).toBe('overloaded')
      expect(await Promise.race([...waiting, isWaiting])).toBe(isWaiting)
      expect((await Promise.all(waiting)).map((one) => one.reason)).toEqual(['unavailable', 'unavailable'])
      expect(node.queuedBytes).toBe(0)
      const again = refusal(node.broker.publish(CHANNEL, big))
      expect(node.queuedBytes).toBeGreaterThan(0)
      expect((await again).reason).toBe('unavailable')
    },
  )

  clusterTest('an entry takes 700 bytes of the queue in addition to its own bytes', async ({ redis }) => {
    await redis.stop()
    // Each is only a header of 14 bytes.
    const waiting = new RedisNode(redis.url, 'waiting', 10 * (700 + 14))
    const accepted = Array.from({ length: 10 }, () =>
      refusal(waiting.broker.publish(CHANNEL, publication(''))),
    )
    expect(waiting.queuedBytes).toBe(10 * (700 + 14))
    expect((await refusal(waiting.broker.publish(CHANNEL, publication('')))).reason).toBe('overloaded')
    for (const { reason } of await Promise.all(accepted)) expect(reason).toBe('unavailable')
    waiting.close()
  })

  clusterTest(
    'a short outage delays publications instead of refusing them',
    async ({ redis, node, other }) => {
      const admin = new Redis(redis.url)
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      admin.disconnect()
      await retryWhileRefused(() => other.broker.publish(CHANNEL, publication('through')))
      await node.recorder.until(CHANNEL, 2)
      expect(node.recorder.textsOf(CHANNEL)).toEqual(['before', 'through'])
    },
  )

  clusterTest('the metrics show that both connections are down', async ({ redis, node }) => {
    const isUp = async () => (await node.metrics.redisUp.get()).values.map(({ value }) => value)
    expect(await isUp()).toEqual([1, 1])
    await redis.stop()
    await refusal(node.broker.publish(CHANNEL, publication('lost')))
    expect(await isUp()).toEqual([0, 0])
  })
})

describe('after an outage of Redis', () => {
  clusterTest(
    'brokers deliver to the subscriptions from before it, after each of two outages',
    async (cluster) => {
      const { redis, node, other } = cluster
      for (const text of ['back', 'back again']) {
        await redis.stop()
        await refusal(other.broker.publish(CHANNEL, publication('lost')))
        await redis.startAgain()
        await publishUntilReceived(cluster, text)
      }
      await retryWhileRefused(() => node.broker.subscribe('new'))
      await retryWhileRefused(() => other.broker.publish('new', publication('hello')))
      await node.recorder.until('new', 1)
      expect(node.recorder.textsOf(CHANNEL)).not.toContain('lost')
    },
  )

  clusterTest('a node receives its own publications from the first accepted one', async ({ redis, node }) => {
    await redis.stop()
    await refusal(node.broker.publish(CHANNEL, publication('lost')))
    await redis.startAgain()
    await retryWhileRefused(() => node.broker.publish(CHANNEL, publication('mine')))
    await node.recorder.until(CHANNEL, 2)
    expect(node.recorder.textsOf(CHANNEL)).toEqual(['before', 'mine'])
  })

  clusterTest(
    'a reconnection is counted once for each connection, independent of the number of attempts',
    async (cluster) => {
      const { redis, node } = cluster
      expect(await node.reconnections()).toBe(0)
      await redis.stop()
      await refusal(node.broker.publish(CHANNEL, publication('lost')))
      expect(await node.reconnections()).toBe(0)
      await redis.startAgain()
      await retryWhileRefused(() => node.broker.publish(CHANNEL, publication('mine')))
      expect(await node.reconnections()).toBe(2)
    },
  )

  clusterTest('a channel that was unsubscribed during the outage stays unsubscribed', async (cluster) => {
    const { redis, node } = cluster
    await node.broker.subscribe('other')
    await redis.stop()
    await refusal(node.broker.publish(CHANNEL, publication('lost')))
    node.broker.unsubscribe('other')
    await redis.startAgain()
    await publishUntilReceived(cluster, 'back')
    const admin = new Redis(redis.url)
    expect(await admin.pubsub('CHANNELS', '*')).toEqual([node.keys.channelEvents(CHANNEL)])
    admin.disconnect()
  })
})

clusterTest('a broker may be created before its Redis runs', async ({ redis }) => {
  await redis.stop()
  const early = new RedisNode(redis.url)
  expect((await refusal(early.broker.subscribe(CHANNEL))).reason).toBe('unavailable')
  await redis.startAgain()
  await retryWhileRefused(() => early.broker.subscribe(CHANNEL))
  await retryWhileRefused(() => early.broker.publish(CHANNEL, publication('hello')))
  await early.recorder.until(CHANNEL, 1)
  early.close()
})

clusterTest('a broker whose relay is closed refuses everything', async ({ node }) => {
  const refused = refusal(node.broker.publish(CHANNEL, publication('last')))
  node.close()
  expect((await refused).reason).toBe('unavailable')
  expect((await refusal(node.broker.publish(CHANNEL, publication('late')))).reason).toBe('unavailable')
  expect((await refusal(node.broker.subscribe('other'))).reason).toBe('unavailable')
  expect(node.queuedBytes).toBe(0)
})
