import type { Broker } from './broker/broker.js'
import { MemoryBroker } from './broker/memory-broker.js'
import { RedisBroker } from './broker/redis-broker.js'
import { ShardedBroker } from './broker/sharded-broker.js'
import type { RedisAddress } from './config/redis-address.js'
import type { Logger } from './log.js'
import type { Metrics } from './metrics/metrics.js'
import { MemoryPeers } from './node/memory-peers.js'
import type { NodeRelay } from './node/node.js'
import type { Membership, Peers } from './node/peers.js'
import { RedisMembership } from './node/redis-membership.js'
import { RedisPeers } from './node/redis-peers.js'
import { MemoryPresenceStore } from './presence/memory-presence-store.js'
import type { DeadNodes } from './presence/presence-keeper.js'
import type { PresenceStore, PresenceUpkeep } from './presence/presence-store.js'
import { RedisPresenceStore } from './presence/redis-presence-store.js'
import { ShardedPresenceStore } from './presence/sharded-presence-store.js'
import { ByteBudget } from './redis/byte-budget.js'
import { Keys } from './redis/keys.js'
import { createPlacement } from './redis/placement.js'
import { RedisCluster } from './redis/redis-cluster.js'
import type { RedisCertificates } from './redis/redis-connection.js'
import { RedisLink, type RedisLinkOptions } from './redis/redis-link.js'
import type { RedisLinks } from './redis/redis-links.js'

export interface RedisRelayOptions {
  /** Several are independent of each other, and each has the channels that are placed on it. */
  readonly addresses: readonly RedisAddress[]
  readonly certificates: RedisCertificates
  /** Prefix of all keys and Redis channels. */
  readonly prefix: string
  /** Bytes that may wait for Redis. */
  readonly queueBytes: number
}

export interface RelayOptions {
  /** Id of the node. */
  readonly id: string
  /** Undefined for a node that runs alone. */
  readonly redis: RedisRelayOptions | undefined
  readonly log: Logger
  readonly metrics: Metrics
}

/** The implementations of the ports through which this node reaches the others. */
export interface Relay extends NodeRelay {
  readonly broker: Broker
  readonly peers: Peers
  readonly presenceStore: PresenceStore
  /** The presence that nodes share, by Redis. Empty where the node is alone: there is none of other nodes to maintain. */
  readonly sharedPresence: readonly {
    readonly upkeep: PresenceUpkeep
    readonly nodes: DeadNodes & Membership
  }[]
}

/** Picks the implementations of the relay for a node, and begins to connect to Redis. */
export function composeRelay({ id, redis, log, metrics }: RelayOptions): Relay {
  if (redis !== undefined) return composeRedisRelay(id, redis, log, metrics)
  return {
    broker: new MemoryBroker(),
    peers: new MemoryPeers(id),
    presenceStore: new MemoryPresenceStore(),
    sharedPresence: [],
    hasShards: false,
    reasons: () => ({}),
    close: () => undefined,
  }
}

function composeRedisRelay(
  id: string,
  { addresses, certificates, prefix, queueBytes }: RedisRelayOptions,
  log: Logger,
  metrics: Metrics,
): Relay {
  const budget = new ByteBudget(queueBytes, (bytes) => {
    metrics.relayQueueBytes.value = bytes
  })
  const connections = { certificates, budget, log, metrics }
  const onMalformed = () => metrics.relayMalformed.inc()
  const [first, ...others] = addresses.map((address, index) => {
    const keys = new Keys(prefix, {
      database: address.database,
      isCluster: address.target.type === 'cluster',
    })
    const links = composeLinks({ ...connections, address, keys, shard: String(index) })
    links.start()
    const broker = new RedisBroker(links, keys, onMalformed)
    return { links, keys, broker, presenceStore: new RedisPresenceStore(id, links, keys) }
  })
  if (first === undefined) throw new Error('there is no address')
  const all = [first, ...others]
  const count = all.length
  const placed = ({ links, keys }: typeof first, index: number) => ({
    node: id,
    links,
    keys,
    place: { index, count },
  })
  const peers = new RedisPeers({ ...placed(first, 0), onMalformed })
  const placement = createPlacement(count)
  const placeOf = (channel: string) => all[placement(channel)] ?? first
  const brokers = all.map(({ broker }) => broker)
  return {
    broker:
      others.length === 0 ? first.broker : new ShardedBroker(brokers, (channel) => placeOf(channel).broker),
    peers,
    presenceStore:
      others.length === 0
        ? first.presenceStore
        : new ShardedPresenceStore((channel) => placeOf(channel).presenceStore),
    sharedPresence: all.map((each, index) => ({
      upkeep: each.presenceStore,
      nodes: index === 0 ? peers : new RedisMembership(placed(each, index)),
    })),
    hasShards: others.length > 0 || first.keys.isCluster,
    reasons: () => Object.assign({}, ...all.map(({ links }) => links.reasonsByShard)),
    close: () => {
      for (const { links } of all) links.close()
    },
  }
}

function composeLinks(options: RedisLinkOptions): RedisLinks {
  const { target } = options.address
  return target.type === 'cluster'
    ? new RedisCluster({ ...options, seeds: target.servers })
    : new RedisLink(options)
}
