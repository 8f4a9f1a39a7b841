import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect } from 'vitest'
import { CHANNEL, clusterTest } from './cluster-test.js'
import { eventually, publication, refusal } from './publications.js'
import { RedisNode } from './redis-node.js'

clusterTest(
  'who waits for a channel is not refused because somebody else has waited for too long',
  async (cluster) => {
    const { redis, node, other } = cluster
    redis.freeze()
    let isFirstRefused = false
    const first = refusal(node.broker.subscribe('slow')).finally(() => {
      isFirstRefused = true
    })
    const later: Promise<void>[] = []
    while (!isFirstRefused) {
      const waits = node.broker.subscribe('slow')
      waits.catch(() => undefined)
      later.push(waits)
      await sleep(20)
    }
    expect((await first).reason).toBe('unavailable')
    redis.resume()
    await later.at(-1)
    await eventually(() => other.broker.publish('slow', publication('hello')))
    await node.recorder.until('slow', 1)
  },
)

clusterTest('a channel that was promised stays when somebody else waits for it in vain', async (cluster) => {
  const { redis, node, other } = cluster
  await redis.stop()
  // The connection is known to be lost once something new is refused.
  await refusal(node.broker.subscribe('other'))
  await refusal(node.broker.subscribe(CHANNEL))
  await redis.startAgain()
  while (!node.recorder.textsOf(CHANNEL).includes('after')) {
    await eventually(() => other.broker.publish(CHANNEL, publication('after')))
  }
})

clusterTest('a refusal of Redis is named, and asked again after it was mended', async ({ redis }) => {
  const admin = new Redis(redis.url)
  await admin.acl('SETUSER', 'limited', 'on', '>password', '~test:*', 'resetchannels', '+@all')
  const limited = new RedisNode(`redis://limited:password@127.0.0.1:${redis.port}`)
  try {
    // Until it is connected, which says nothing of rights.
    await eventually(async () => void (await limited.peers.aliveNodes()))
    await expect(limited.broker.subscribe('secret')).rejects.toMatchObject({
      reason: 'unavailable',
      message: expect.stringMatching(/^Redis refused the subscription: NOPERM/),
    })
    await admin.acl('SETUSER', 'limited', '&test:*')
    await eventually(() => limited.broker.subscribe('secret'))
    expect(await admin.pubsub('NUMSUB', limited.keys.channelEvents('secret'))).toEqual([
      limited.keys.channelEvents('secret'),
      1,
    ])
  } finally {
    limited.close()
    admin.disconnect()
  }
})
