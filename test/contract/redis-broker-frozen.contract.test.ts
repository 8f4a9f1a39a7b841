import { describe, expect } from 'vitest'
import { TcpProxy } from '../support/tcp-proxy.js'
import { CHANNEL, clusterTest, publishUntilReceived } from './cluster-test.js'
import { publication, refusal, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

describe('while Redis does not answer', () => {
  clusterTest(
    'a publication under way is refused as timeout, and a queued one as unavailable',
    async ({ redis, node }) => {
      redis.freeze()
      const underWay = refusal(node.broker.publish(CHANNEL, publication('maybe')))
      await new Promise(setImmediate)
      const queued = refusal(node.broker.publish(CHANNEL, publication('lost')))
      const [first, second] = await Promise.all([underWay, queued])
      expect([first.reason, second.reason]).toEqual(['timeout', 'unavailable'])
      expect(node.queuedBytes).toBe(0)
    },
  )

  clusterTest('a publication under way is refused when its connection is lost', async ({ redis }) => {
    const proxy = await TcpProxy.start(redis.port)
    const proxied = new RedisNode(`redis://127.0.0.1:${proxy.port}`)
    try {
      await retryWhileRefused(() => proxied.broker.publish(CHANNEL, publication('before')))
      redis.freeze()
      const underWay = expect(proxied.broker.publish(CHANNEL, publication('maybe'))).rejects.toMatchObject({
        reason: 'timeout',
        message: 'the connection to Redis was lost; it may have been published or not',
      })
      // It is sent at the end of the event loop's iteration.
      await new Promise(setImmediate)
      await new Promise(setImmediate)
      proxy.cut()
      await underWay
      expect(proxied.queuedBytes).toBe(0)
      redis.resume()
      await retryWhileRefused(() => proxied.broker.publish(CHANNEL, publication('after')))
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

  clusterTest('a request to Redis is refused as unavailable', async ({ redis, node }) => {
    redis.freeze()
    const { reason } = await refusal(node.peers.aliveNodes())
    expect(reason).toBe('unavailable')
  })

  clusterTest('and answers again, publications continue and none is delivered twice', async (cluster) => {
    const { redis, node, other } = cluster
    redis.freeze()
    await refusal(other.broker.publish(CHANNEL, publication('maybe')))
    redis.resume()
    await retryWhileRefused(() => other.broker.publish(CHANNEL, publication('after')))
    await node.recorder.until(CHANNEL, 2)
    const texts = node.recorder.textsOf(CHANNEL)
    expect(texts.filter((text) => text === 'maybe').length).toBeLessThanOrEqual(1)
    await publishUntilReceived(cluster, 'again')
  })
})
