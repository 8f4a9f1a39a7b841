import type { Broker } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { retryWhileRefused } from './publications.js'
import { Recorder } from './recorder.js'
import { REDIS_TOPOLOGIES, type RedisTopology } from './redis-topologies.js'
import { TopologyNode } from './topology-node.js'

export interface BrokerNode {
  readonly broker: Broker
  readonly recorder: Recorder
}

export interface BrokerCluster {
  /** All nodes of the cluster: only one for a broker that runs alone. */
  readonly nodes: readonly [BrokerNode, ...BrokerNode[]]
  /** Resolves once the publications of a channel have expired. `ttlMs`: their time to live. */
  publicationsExpired(channel: string, ttlMs: number): Promise<void>
  /** Resolves once the epoch of a channel has expired. `metaTtlMs`: its time to live. */
  epochExpired(channel: string, metaTtlMs: number): Promise<void>
  close(): Promise<void>
}

/** A MemoryBroker whose clock advances only to let something expire. */
function memoryCluster(): Promise<BrokerCluster> {
  let nowMs = 0
  const node = { broker: new MemoryBroker(() => nowMs), recorder: new Recorder() }
  node.broker.start(node.recorder)
  const advance = (ms: number) => {
    nowMs += ms
    return Promise.resolve()
  }
  return Promise.resolve({
    nodes: [node],
    publicationsExpired: (_, ttlMs) => advance(ttlMs),
    epochExpired: (_, metaTtlMs) => advance(metaTtlMs),
    close: () => Promise.resolve(),
  })
}

async function redisCluster(start: () => Promise<RedisTopology>): Promise<BrokerCluster> {
  const redis = await start()
  const nodes: [TopologyNode, TopologyNode] = [new TopologyNode(redis.url), new TopologyNode(redis.url)]
  const [{ keys }] = nodes
  for (const node of nodes) await retryWhileRefused(() => node.announce())
  const expired = async (key: string) => {
    while (await redis.holds(key));
  }
  return {
    nodes,
    publicationsExpired: (channel) => expired(keys.stream(channel)),
    epochExpired: (channel) => expired(keys.streamMeta(channel)),
    close: async () => {
      for (const node of nodes) node.close()
      await redis.remove()
    },
  }
}

/** Every broker, by its name and that of its Redis. */
export const BROKER_CLUSTERS: readonly (readonly [name: string, start: () => Promise<BrokerCluster>])[] = [
  ['MemoryBroker', memoryCluster],
  ...REDIS_TOPOLOGIES.map(([name, start]) => [`RedisBroker on ${name}`, () => redisCluster(start)] as const),
]
