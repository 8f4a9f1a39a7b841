import { it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { publication, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

export const CHANNEL = 'room'
export const QUEUE_BYTES = 1024 ** 2

/** A Redis and two nodes. `node` is subscribed to CHANNEL and has received one publication of `other`, "before". */
export interface Cluster {
  readonly redis: RedisServer
  readonly node: RedisNode
  readonly other: RedisNode
}

/** Defines a test with a cluster of its own. Such tests mostly wait for deadlines, so they run concurrently. */
export function clusterTest(title: string, test: (cluster: Cluster) => Promise<void>): void {
  it.concurrent(title, async () => {
    const redis = await RedisServer.start()
    const node = new RedisNode(redis.url, 'node', QUEUE_BYTES)
    const other = new RedisNode(redis.url, 'other', QUEUE_BYTES)
    try {
      await node.broker.subscribe(CHANNEL)
      await other.broker.publish(CHANNEL, publication('before'))
      await node.recorder.until(CHANNEL, 1)
      await test({ redis, node, other })
    } finally {
      node.close()
      other.close()
      redis.resume()
      await redis.remove()
    }
  })
}

/** Publishes on `other` until `node` receives it: Redis drops what is published before `node` is subscribed again. */
export async function publishUntilReceived({ node, other }: Cluster, text: string): Promise<void> {
  while (!node.recorder.textsOf(CHANNEL).includes(text)) {
    await retryWhileRefused(() => other.broker.publish(CHANNEL, publication(text)))
  }
}
