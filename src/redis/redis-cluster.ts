import { type HostAndPort, parseHostAndPort } from '../config/redis-address.js'
import { groupBy } from '../group-by.js'
import { ClusterSlots, type ServerName, type SlotRange } from './cluster-slots.js'
import { SLOTS, slotOf } from './key-slot.js'
import { createQueryConnection } from './redis-connection.js'
import { ClusterDownError, failureReason, isClusterDown, type RedisReason } from './redis-errors.js'
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
  /** Why the last server that was asked has not told its slots; undefined where it has. */
  private slotsProblem: RedisReason | undefined
  private isClosed = false

  constructor(private readonly options: RedisClusterOptions) {
    const { seeds, address, certificates, log } = options
    const [seed] = seeds
    this.slots = new ClusterSlots({
      seeds: seeds.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
      connect: (server) => createQueryConnection({ address: addressOf(server, address), certificates }),
      log,
      onAnswer: (ranges) => {
        this.assign(ranges).catch((error: unknown) => log.error({ err: error }, 'assigning slots failed'))
      },
      onFailure: (error) => {
        this.slotsProblem = failureReason(error)
      },
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
    const { slotsProblem } = this
    // A server that is out is among the links; that a server refuses to tell the slots shows nowhere else.
    const ofSlots =
      slotsProblem === undefined || slotsProblem === 'redis_unreachable' ? {} : { [NO_SHARD]: [slotsProblem] }
    return Object.assign({}, ...Array.from(used, ({ reasonsByShard }) => reasonsByShard), ofSlots)
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
    this.slotsProblem = undefined
    if (this.isAssigning || this.isClosed) return
    const assigned = this.linkOfSlot.map(() => this.unassigned)
    for (const { first, last, master } of ranges) assigned.fill(this.masterLink(master), first, last + 1)
    // The server that was asked may be cut off from the others, which have promoted a replica since.
    if ([...this.masters.values()].some(({ isUp }) => !isUp)) this.slots.askAnotherNext()
    const losing = new Set(this.linkOfSlot.filter((link, slot) => link !== assigned[slot]))
    if (losing.size === 0) return
    this.isAssigning = true
    await Promise.all(Array.from(losing, (link) => this.handOver(link, assigned)))
    this.isAssigning = false
    if (!this.isClosed) this.closeUnused()
  }

  /** Hands over what a link has for slots that it loses. */
  private async handOver(link: RedisLink, assigned: readonly RedisLink[]): Promise<void> {
    // What a server has not answered yet may have to be sent to another one, before all that comes after it.
    await link.queue.hold()
    if (this.isClosed) return
    // Another master may have got the slots without what was in them.
    if (link !== this.unassigned && !link.isUp) this.pastConnections++
    for (const [slot, other] of assigned.entries()) {
      if (this.linkOfSlot[slot] === link) this.linkOfSlot[slot] = other
    }
    this.moveFrom(link)
    link.queue.letGo()
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
    if (isClusterDown(error) || error instanceof ClusterDownError) this.slots.askAnother()
    else this.slots.refresh()
  }
}

function addressOf(
  server: ServerName,
  address: RedisClusterOptions['address'],
): RedisClusterOptions['address'] {
  return { ...address, target: { type: 'host', ...parseHostAndPort(server) } }
}
