import { Redis } from 'ioredis'
import type { Broker } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { RedisServer } from '../support/redis-server.js'
import { Recorder } from './recorder.js'
import { RedisNode } from './redis-node.js'

export interface BrokerNode {
  readonly broker: Broker
  readonly recorder: Recorder
}

export interface BrokerCluster {
  /** All nodes of it: one, for a broker that is alone. */
  readonly nodes: readonly [BrokerNode, ...BrokerNode[]]
  /** Resolves once a channel's publications are gone, which had so long to live. */
  publicationsGone(channel: string, ttlMs: number): Promise<void>
  /** Resolves once a channel's epoch is gone, which had so long to live. */
  epochGone(channel: string, metaTtlMs: number): Promise<void>
  close(): Promise<void>
}

/** Its time passes only when something has to be gone. */
export function memoryCluster(): Promise<BrokerCluster> {
  let nowMs = 0
  const node = { broker: new MemoryBroker(() => nowMs), recorder: new Recorder() }
  node.broker.start(node.recorder)
  const pass = (ms: number) => {
    nowMs += ms
    return Promise.resolve()
  }
  return Promise.resolve({
    nodes: [node],
    publicationsGone: (_, ttlMs) => pass(ttlMs),
    epochGone: (_, metaTtlMs) => pass(metaTtlMs),
    close: () => Promise.resolve(),
  })
}

export async function redisCluster(): Promise<BrokerCluster> {
  const redis = await RedisServer.start()
  const admin = new Redis(redis.url)
  const nodes: [RedisNode, RedisNode] = [new RedisNode(redis.url), new RedisNode(redis.url)]
  const [{ keys }] = nodes
  const gone = async (key: string) => {
    while ((await admin.exists(key)) > 0);
  }
  return {
    nodes,
    publicationsGone: (channel) => gone(keys.stream(channel)),
    epochGone: (channel) => gone(keys.streamMeta(channel)),
    close: async () => {
      for (const node of nodes) node.close()
      admin.disconnect()
      await redis.remove()
    },
  }
}
