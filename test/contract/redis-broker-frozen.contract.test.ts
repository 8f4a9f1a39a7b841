import { describe, expect } from 'vitest'
import { TcpProxy } from '../support/tcp-proxy.js'
import { CHANNEL, clusterTest, publishUntilHeard } from './cluster-test.js'
import { eventually, publication, refusal } from './publications.js'
import { RedisNode } from './redis-node.js'

describe('while Redis does not answer', () => {
  clusterTest(
    'a publication under way is refused as timeout, one that waits as unavailable',
    async ({ redis, node }) => {
      redis.freeze()
      const underWay = refusal(node.broker.publish(CHANNEL, publication('maybe')))
      await new Promise(setImmediate)
      const waits = refusal(node.broker.publish(CHANNEL, publication('lost')))
      const [first, second] = await Promise.all([underWay, waits])
      expect([first.reason, second.reason]).toEqual(['timeout', 'unavailable'])
      expect(node.queuedBytes).toBe(0)
    },
  )

  clusterTest('a publication under way is refused when its connection is lost', async ({ redis }) => {
    const proxy = await TcpProxy.start(redis.port)
    const proxied = new RedisNode(`redis://127.0.0.1:${proxy.port}`)
    try {
      await eventually(() => proxied.broker.publish(CHANNEL, publication('before')))
      redis.freeze()
      const underWay = expect(proxied.broker.publish(CHANNEL, publication('maybe'))).rejects.toMatchObject({
        reason: 'timeout',
        message: 'the connection to Redis was lost; it may have been published or not',
      })
      // It leaves at the end of the loop's iteration.
      await new Promise(setImmediate)
      await new Promise(setImmediate)
      proxy.cut()
      await underWay
      expect(proxied.queuedBytes).toBe(0)
      redis.resume()
      await eventually(() => proxied.broker.publish(CHANNEL, publication('after')))
    } finally {
      proxied.close()
      proxy.remove()
    }
  })

  clusterTest('a subscribe is refused as unavailable', async ({ redis, node }) => {
    redis.freeze()
    const { reason } = await refusal(node.broker.subscribe('other'))
    expect(reason).toBe('unavailable')
  })

  clusterTest('a question to Redis is refused as unavailable', async ({ redis, node }) => {
    redis.freeze()
    const { reason } = await refusal(node.peers.aliveNodes())
    expect(reason).toBe('unavailable')
  })

  clusterTest('and answers again, everything goes on, and nothing is delivered twice', async (cluster) => {
    const { redis, node, other } = cluster
    redis.freeze()
    await refusal(other.broker.publish(CHANNEL, publication('maybe')))
    redis.resume()
    await eventually(() => other.broker.publish(CHANNEL, publication('after')))
    await node.recorder.until(CHANNEL, 2)
    const texts = node.recorder.textsOf(CHANNEL)
    expect(texts.filter((text) => text === 'maybe').length).toBeLessThanOrEqual(1)
    await publishUntilHeard(cluster, 'again')
  })
})
