import type { ClientInfo } from '../protocol/client-info.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import { type ChannelBatch, ChannelBatches } from './channel-batches.js'
import { type LocalClient, LocalPresence } from './local-presence.js'
import { decodePresenceEntry } from './presence-entry.js'
import type { PresenceStats, PresenceStore, PresenceUpkeep, ReportPresence } from './presence-store.js'
import { RedisPresenceRemoval } from './redis-presence-removal.js'
import { type Added, outcomesOf, type Redis, RedisPresenceScripts } from './redis-presence-scripts.js'

/** Entries that one read of a channel asks for. */
const LIST_BATCH = 2_000
/** Clients that are put back together. */
const RESTORE_BATCH = 200
/** After which another node goes on with a sweep whose node has stopped. */
const SWEEP_LOCK_MS = 3_000
/** How long a node that was swept can be away and still learn of it. */
const SWEPT_MS = 86_400_000
/** Clients that left during an outage whose leaves are told after it; of further ones nobody hears. */
const MAX_UNREPORTED_LEAVES = 10_000

/**
 * Presence that all nodes share. It costs on change, not with time: clients are not refreshed, their node's lease
 * stands for them, and each node knows its own clients, so that it can put them back.
 */
export class RedisPresenceStore implements PresenceStore, PresenceUpkeep {
  private readonly local = new LocalPresence()
  private readonly removal: RedisPresenceRemoval
  private readonly scripts: RedisPresenceScripts
  private readonly additions = new ChannelBatches<LocalClient, Added>((batches) => this.addBatches(batches))
  private readonly removals = new ChannelBatches<ClientInfo, number>((batches) => this.removeBatches(batches))
  /** Channels of those being added that nobody of this node was in. */
  private readonly unregisteredChannels = new Set<string>()
  /** Who was kept, left, and could not be taken out then: the leave is still to be told. */
  private unreportedLeaves: LocalClient[] = []
  /** Whether Redis may hold something else than this node's clients. */
  private needsRestore = false
  /** Whether this node has been swept since its clients were last put back. */
  private wasSwept = false
  private mayHaveLapsed = false
  private seenConnections = 0

  constructor(
    private readonly node: string,
    private readonly link: RedisLink,
    private readonly keys: Keys,
  ) {
    this.removal = new RedisPresenceRemoval(link, keys)
    this.scripts = new RedisPresenceScripts(node, keys)
  }

  async add(channel: string, info: ClientInfo): Promise<number> {
    if (!this.local.hasChannel(channel)) this.unregisteredChannels.add(channel)
    const client = this.local.set(channel, info)
    try {
      const { online } = await this.additions.add(channel, client)
      client.state = 'kept'
      return online
    } catch (error) {
      client.state = 'failed'
      this.needsRestore = true
      throw error
    }
  }

  async remove(channel: string, info: ClientInfo): Promise<number> {
    const known = this.local.delete(channel, info.client)
    try {
      return await this.removals.add(channel, info)
    } catch (error) {
      this.needsRestore = true
      if (known?.state === 'kept' && this.unreportedLeaves.length < MAX_UNREPORTED_LEAVES)
        this.unreportedLeaves.push(known)
      throw error
    }
  }

  async list(
    channel: string,
    maxClients = Number.POSITIVE_INFINITY,
  ): Promise<ReadonlyMap<string, ClientInfo>> {
    const key = this.keys.presenceClients(channel)
    this.flush()
    return this.link.run(async (redis) => {
      const found = new Map<string, ClientInfo>()
      const leases = new Map<string, boolean>([[this.node, true]])
      let cursor = '0'
      do {
        const [next, fields] = await redis.hscan(key, cursor, 'COUNT', LIST_BATCH)
        cursor = next
        await this.collectLive(redis, fields, leases, found)
      } while (cursor !== '0' && found.size <= maxClients)
      return found
    })
  }

  async stats(channel: string): Promise<PresenceStats> {
    this.flush()
    const [clients, users] = await this.link.run((redis) =>
      Promise.all([
        redis.hlen(this.keys.presenceClients(channel)),
        redis.hlen(this.keys.presenceUsers(channel)),
      ]),
    )
    return { clients, users }
  }

  async restore(hasLapsed: boolean, report: ReportPresence): Promise<void> {
    this.mayHaveLapsed ||= hasLapsed
    const { connections } = this.link
    this.flush()
    if (!this.mayHaveLapsed && !this.needsRestore && connections === this.seenConnections) return
    this.needsRestore = false
    try {
      if (this.mayHaveLapsed) {
        const mark = await this.link.run((redis) => redis.getdel(this.keys.swept(this.node)))
        this.wasSwept ||= mark !== null
        this.scripts.generation++
        this.mayHaveLapsed = false
      }
      await this.removeDeparted(report)
      await this.restoreAll(report)
      this.wasSwept = false
      this.seenConnections = connections
    } catch (error) {
      this.needsRestore = true
      throw error
    }
  }

  async sweep(node: string, report: ReportPresence): Promise<boolean> {
    const lock = this.keys.sweepLock(node)
    const isMine = await this.link.run((redis) => redis.set(lock, this.node, 'PX', SWEEP_LOCK_MS, 'NX'))
    if (isMine === null) return false
    // Before the first look at its lease: a node that comes back later than that finds this.
    await this.link.run((redis) => redis.set(this.keys.swept(node), this.node, 'PX', SWEPT_MS))
    const isDead = () =>
      this.link.run(async (redis) => {
        const [lease] = await Promise.all([
          redis.exists(this.keys.lease(node)),
          redis.pexpire(lock, SWEEP_LOCK_MS),
        ])
        return lease === 0
      })
    const isClear = await this.removal.run({ node, isKept: () => false, mayContinue: isDead, report })
    await this.link.run((redis) => redis.del(lock))
    return isClear
  }

  async removeOwn(report: ReportPresence): Promise<void> {
    this.flush()
    const all = { node: this.node, isKept: () => false, mayContinue: () => Promise.resolve(true), report }
    await this.removal.run(all)
  }

  /** Takes out who has left meanwhile, and tells of it. */
  private async removeDeparted(report: ReportPresence): Promise<void> {
    await this.removal.run({
      node: this.node,
      isKept: (channel, client) =>
        client === undefined ? this.local.hasChannel(channel) : this.local.has(channel, client),
      mayContinue: () => Promise.resolve(true),
      // Not by what is found, since an order that was given up may have been carried out late.
      report: () => Promise.resolve(),
    })
    // Whoever swept this node has told it.
    if (this.wasSwept) this.unreportedLeaves = []
    while (this.unreportedLeaves.length > 0) {
      const some = this.unreportedLeaves.slice(0, RESTORE_BATCH)
      const counts = await this.link.run((redis) =>
        Promise.all(some.map(({ channel }) => redis.hlen(this.keys.presenceClients(channel)))),
      )
      this.unreportedLeaves = this.unreportedLeaves.slice(some.length)
      const reports = some.map(({ channel, info }, index) =>
        report({ type: 'leave', channel, info, online: counts[index] ?? 0 }),
      )
      await Promise.all(reports)
    }
  }

  private async restoreAll(report: ReportPresence): Promise<void> {
    let batch: LocalClient[] = []
    const refused: unknown[] = []
    for (const client of this.local) {
      // Its own order to Redis is under way, and says how it ends.
      if (client.state === 'pending') continue
      batch.push(client)
      if (batch.length < RESTORE_BATCH) continue
      refused.push(...(await this.restoreBatch(batch, report)))
      batch = []
    }
    if (batch.length > 0) refused.push(...(await this.restoreBatch(batch, report)))
    if (refused.length > 0) throw refused[0]
  }

  /** Whoever has just come finds itself there, and whoever has just left does not: commands of a connection keep their order. */
  private flush(): void {
    this.additions.flush()
    this.removals.flush()
  }

  /**
   * The orders leave in the tick in which the clients were found to be here. Resolves with why Redis refused channels,
   * which holds up no others.
   */
  private async restoreBatch(clients: readonly LocalClient[], report: ReportPresence): Promise<unknown[]> {
    const byChannel = new Map<string, LocalClient[]>()
    for (const client of clients) {
      const sameChannel = byChannel.get(client.channel)
      if (sameChannel === undefined) byChannel.set(client.channel, [client])
      else sameChannel.push(client)
    }
    const batches = Array.from(byChannel, ([channel, items]) => ({ channel, items }))
    const outcomes = await this.link.run((redis) =>
      this.registerAndAdd(redis, [...byChannel.keys()], batches),
    )
    const refused: unknown[] = []
    const reports: (Promise<void> | undefined)[] = []
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === 'rejected') refused.push(outcome.reason)
      else
        for (const [at, client] of (batches[index]?.items ?? []).entries()) {
          reports.push(this.confirmRestored(client, outcome.value[at], report))
        }
    }
    await Promise.all(reports)
    if (refused.length > 0 && !this.link.isUp) throw refused[0]
    return refused
  }

  /** A client was put back: tells of it where nobody has heard of it. */
  private confirmRestored(
    client: LocalClient,
    added: Added | undefined,
    report: ReportPresence,
  ): Promise<void> | undefined {
    const { channel, info, state } = client
    if (added === undefined || !this.local.has(channel, info.client)) {
      // Who left meanwhile may have been overtaken where Redis had to be sent the script in full.
      this.needsRestore = true
      return undefined
    }
    client.state = 'kept'
    const isUnheardOf = state === 'failed' || (added.wasAbsent && this.wasSwept)
    return isUnheardOf ? report({ type: 'join', channel, info, online: added.online }) : undefined
  }

  private addBatches(
    batches: readonly ChannelBatch<LocalClient>[],
  ): Promise<PromiseSettledResult<Added[]>[]> {
    const channels = batches
      .map(({ channel }) => channel)
      .filter((channel) => this.unregisteredChannels.delete(channel))
    return this.link.run((redis) => this.registerAndAdd(redis, channels, batches))
  }

  /** Notes channels as this node's, and puts clients into theirs. */
  private async registerAndAdd(
    redis: Redis,
    channels: readonly string[],
    batches: readonly ChannelBatch<LocalClient>[],
  ): Promise<PromiseSettledResult<Added[]>[]> {
    // Before the clients: a sweep of this node must find the channels whenever this node dies.
    const noted =
      channels.length > 0 ? redis.sadd(this.keys.presenceChannels(this.node), ...channels) : undefined
    const outcomes = outcomesOf(batches.map(({ channel, items }) => this.scripts.add(redis, channel, items)))
    await noted
    return outcomes
  }

  private removeBatches(
    batches: readonly ChannelBatch<ClientInfo>[],
  ): Promise<PromiseSettledResult<readonly number[]>[]> {
    return this.link.run(async (redis) => {
      const empty: string[] = []
      const take = async ({ channel, items }: ChannelBatch<ClientInfo>) => {
        const { ofThisNode, online } = await this.scripts.remove(redis, channel, items)
        if (ofThisNode === 0) empty.push(channel)
        return online
      }
      const outcomes = await outcomesOf(batches.map(take))
      const gone = empty.filter((channel) => !this.local.hasChannel(channel))
      if (gone.length > 0) await redis.srem(this.keys.presenceChannels(this.node), ...gone)
      return outcomes
    })
  }

  /** Adds to `found` who is on a living node; `leases` keeps which nodes are. */
  private async collectLive(
    redis: Redis,
    fields: readonly string[],
    leases: Map<string, boolean>,
    found: Map<string, ClientInfo>,
  ): Promise<void> {
    const entries = []
    for (let index = 0; index + 1 < fields.length; index += 2) {
      const entry = decodePresenceEntry(fields[index] ?? '', fields[index + 1] ?? '')
      if (entry !== undefined) entries.push(entry)
    }
    const unknown = [...new Set(entries.map(({ node }) => node))].filter((node) => !leases.has(node))
    if (unknown.length > 0) {
      const values = await redis.mget(unknown.map((node) => this.keys.lease(node)))
      for (const [index, node] of unknown.entries()) leases.set(node, typeof values[index] === 'string')
    }
    for (const { node, info } of entries) if (leases.get(node) === true) found.set(info.client, info)
  }
}
