import { type HostAndPort, parseHostAndPort } from '../config/redis-address.js'
import { ClusterSlots, type ServerName, type SlotRange } from './cluster-slots.js'
import { SLOTS, slotOf } from './key-slot.js'
import { createQueryConnection } from './redis-connection.js'
import { isClusterDown, type RedisReason } from './redis-errors.js'
import { RedisLink, type RedisLinkOptions } from './redis-link.js'
import type { RedisLinks } from './redis-links.js'

/** The shard label of what no master has. */
const NO_SHARD = 'none'

export interface RedisClusterOptions extends Omit<RedisLinkOptions, 'shard' | 'onRedirected'> {
  readonly seeds: readonly [HostAndPort, ...HostAndPort[]]
}

/**
 * A Redis Cluster: a link to each of its masters. When a slot moves to another master, by hand or by a failover, what waits
 * for Redis and what is subscribed in it move to the link of that master.
 */
export class RedisCluster implements RedisLinks {
  private readonly slots: ClusterSlots
  /** The link that is never started: events and subscriptions wait in it, up to their deadline, for a master. */
  private readonly unassigned: RedisLink
  private readonly linkOfSlot: RedisLink[]
  private readonly masters = new Map<ServerName, RedisLink>()
  /** Connections of links that are closed. */
  private pastConnections = 0
  private resumed: (redisChannels: readonly string[]) => void = () => undefined
  private isAssigning = false
  private isClosed = false

  constructor(private readonly options: RedisClusterOptions) {
    const { seeds, address, certificates, log } = options
    const [seed] = seeds
    this.slots = new ClusterSlots({
      seeds: seeds.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
      connect: (server) => createQueryConnection({ address: addressOf(server, address), certificates }),
      log,
      onAnswer: (ranges) => void this.assign(ranges),
    })
    this.unassigned = new RedisLink({
      ...options,
      shard: NO_SHARD,
      address: { ...address, target: { type: 'host', ...seed } },
    })
    this.linkOfSlot = Array.from({ length: SLOTS }, () => this.unassigned)
  }

  linkFor(key: string): RedisLink {
    return this.linkOfSlot[slotOf(key)] ?? this.unassigned
  }

  groupsOf(keys: readonly string[]): readonly (readonly number[])[] {
    const bySlot = groupBy([...keys.keys()], (index) => slotOf(keys[index] ?? ''))
    return [...bySlot.values()]
  }

  get reasonsByShard(): Readonly<Record<string, readonly RedisReason[]>> {
    const used = new Set(this.linkOfSlot)
    return Object.assign({}, ...Array.from(used, ({ reasonsByShard }) => reasonsByShard))
  }

  get connections(): number {
    let sum = this.pastConnections
    for (const { connections } of this.masters.values()) sum += connections
    return sum
  }

  start(): void {
    this.slots.start()
  }

  onResumed(callback: (redisChannels: readonly string[]) => void): void {
    this.resumed = callback
  }

  close(): void {
    this.isClosed = true
    this.slots.close()
    for (const link of [this.unassigned, ...this.masters.values()]) link.close()
  }

  /** Where the slots are still being assigned, the next answer comes within a second. */
  private async assign(ranges: readonly SlotRange[]): Promise<void> {
    if (this.isAssigning || this.isClosed) return
    const assigned = this.linkOfSlot.map(() => this.unassigned)
    for (const { first, last, master } of ranges) assigned.fill(this.masterLink(master), first, last + 1)
    const losing = new Set(this.linkOfSlot.filter((link, slot) => link !== assigned[slot]))
    if (losing.size === 0) return
    this.isAssigning = true
    // What a server has not answered yet may have to be sent to another one, before all that comes after it.
    await Promise.all([...losing].map(({ queue }) => queue.hold()))
    this.isAssigning = false
    if (this.isClosed) return
    for (const [slot, link] of assigned.entries()) this.linkOfSlot[slot] = link
    for (const link of losing) {
      this.moveFrom(link)
      link.queue.letGo()
    }
    this.closeUnused()
  }

  private masterLink(server: ServerName): RedisLink {
    const known = this.masters.get(server)
    if (known !== undefined) return known
    const link = new RedisLink({
      ...this.options,
      shard: server,
      address: addressOf(server, this.options.address),
      onRedirected: (error) => this.redirected(error),
    })
    link.onResumed((redisChannels) => this.resumed(redisChannels))
    this.masters.set(server, link)
    link.start()
    return link
  }

  /** Moves what waits in a link for slots that it has lost. */
  private moveFrom(link: RedisLink): void {
    const hasMoved = (redisChannel: string) => this.linkFor(redisChannel) !== link
    const subscriptions = groupBy(link.subscriber.release(hasMoved), ([name]) => this.linkFor(name))
    for (const [other, released] of subscriptions) other.subscriber.adopt(released)
    const entries = groupBy(link.queue.release(hasMoved), ([name]) => this.linkFor(name))
    for (const [other, released] of entries) other.queue.adopt(released)
  }

  private closeUnused(): void {
    const used = new Set(this.linkOfSlot)
    for (const [server, link] of this.masters) {
      if (used.has(link)) continue
      this.pastConnections += link.connections
      this.masters.delete(server)
      link.close()
    }
  }

  /** A server that takes the cluster for down may be cut off from the others, and they may know more. */
  private redirected(error: Error | undefined): void {
    if (isClusterDown(error)) this.slots.askAnother()
    else this.slots.refresh()
  }
}

function addressOf(
  server: ServerName,
  address: RedisClusterOptions['address'],
): RedisClusterOptions['address'] {
  return { ...address, target: { type: 'host', ...parseHostAndPort(server) } }
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}
