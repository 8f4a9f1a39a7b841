import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect } from 'vitest'
import { CHANNEL, clusterTest } from './cluster-test.js'
import { publication, refusal, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

clusterTest(
  'a subscribe is not refused because an earlier one for its channel has reached its deadline',
  async (cluster) => {
    const { redis, node, other } = cluster
    redis.freeze()
    let isFirstRefused = false
    const first = refusal(node.broker.subscribe('slow')).finally(() => {
      isFirstRefused = true
    })
    const later: Promise<void>[] = []
    while (!isFirstRefused) {
      const pending = node.broker.subscribe('slow')
      pending.catch(() => undefined)
      later.push(pending)
      await sleep(20)
    }
    expect((await first).reason).toBe('unavailable')
    redis.resume()
    await later.at(-1)
    await retryWhileRefused(() => other.broker.publish('slow', publication('hello')))
    await node.recorder.until('slow', 1)
  },
)

clusterTest('a subscribed channel stays when a further subscribe for it is refused', async (cluster) => {
  const { redis, node, other } = cluster
  await redis.stop()
  // The node knows that the connection is lost once a new channel is refused.
  await refusal(node.broker.subscribe('other'))
  await refusal(node.broker.subscribe(CHANNEL))
  await redis.startAgain()
  while (!node.recorder.textsOf(CHANNEL).includes('after')) {
    await retryWhileRefused(() => other.broker.publish(CHANNEL, publication('after')))
  }
})

clusterTest(
  'a refusal of Redis is named in the error, and a later subscribe succeeds once Redis permits it',
  async ({ redis }) => {
    const admin = new Redis(redis.url)
    await admin.acl('SETUSER', 'limited', 'on', '>password', '~test:*', 'resetchannels', '+@all')
    const limited = new RedisNode(`redis://limited:password@127.0.0.1:${redis.port}`)
    try {
      // Waits for the connection, which does not depend on permissions for channels.
      await retryWhileRefused(async () => void (await limited.peers.aliveNodes()))
      await expect(limited.broker.subscribe('secret')).rejects.toMatchObject({
        reason: 'unavailable',
        message: expect.stringMatching(/^Redis refused the subscription: NOPERM/),
      })
      await admin.acl('SETUSER', 'limited', '&test:*')
      await retryWhileRefused(() => limited.broker.subscribe('secret'))
      expect(await admin.pubsub('NUMSUB', limited.keys.channelEvents('secret'))).toEqual([
        limited.keys.channelEvents('secret'),
        1,
      ])
    } finally {
      limited.close()
      admin.disconnect()
    }
  },
)
