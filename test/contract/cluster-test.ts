import { it } from 'vitest'
import { RedisServer } from '../support/redis-server.js'
import { eventually, publication } from './publications.js'
import { RedisNode } from './redis-node.js'

export const CHANNEL = 'room'
export const QUEUE_BYTES = 1024 ** 2

/** A Redis of its own and two nodes; `node` is in the channel and has heard one publication of `other`, "before". */
export interface Cluster {
  readonly redis: RedisServer
  readonly node: RedisNode
  readonly other: RedisNode
}

/** A test with a cluster of its own. Such tests mostly wait for deadlines, so they run together. */
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

/** Publishes from the other node until this one hears it: what Redis takes before the node is back reaches nobody. */
export async function publishUntilHeard({ node, other }: Cluster, text: string): Promise<void> {
  while (!node.recorder.textsOf(CHANNEL).includes(text)) {
    await eventually(() => other.broker.publish(CHANNEL, publication(text)))
  }
}
