import { chunks } from '../chunks.js'
import { groupBy } from '../group-by.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import type { RedisLinks } from '../redis/redis-links.js'
import { Script } from '../redis/script.js'
import { type ChannelBatch, ChannelBatches } from './channel-batches.js'
import { type LocalClient, LocalPresence } from './local-presence.js'
import { decodePresenceEntry } from './presence-entry.js'
import type { PresenceStats, PresenceStore, PresenceUpkeep, ReportPresence } from './presence-store.js'
import { RedisPresenceRemover } from './redis-presence-remover.js'
import { type AddResult, type Redis, RedisPresenceScripts } from './redis-presence-scripts.js'

const lockScript = new Script('sweep-lock-1')

/** Entries that one HSCAN of a channel asks for. */
const LIST_BATCH = 2_000
/** Clients that are restored together, and leaves that are reported together. */
const RESTORE_BATCH = 200
/** Time after which another node takes over a sweep from a node that stopped during it. */
const SWEEP_LOCK_MS = 3_000
/** Time for which a swept node can be disconnected and still find that it was swept. */
const SWEPT_MS = 86_400_000
/** Time for which a failover may bring back a removal that was not replicated yet, and channels that are remembered so long. */
const UNREPLICATED_MS = 60_000
const MAX_REMEMBERED_CHANNELS = 10_000
/** Leaves during an outage that are published after it; further ones are not published. */
const MAX_UNREPORTED_LEAVES = 10_000

/**
 * Presence that all nodes share, in Redis. It costs nothing while no client joins or leaves: entries are not refreshed,
 * but count while their node has a lease, and each node knows its own clients, so that it can restore them.
 */
export class RedisPresenceStore implements PresenceStore, PresenceUpkeep {
  private readonly local = new LocalPresence()
  private readonly remover: RedisPresenceRemover
  private readonly scripts: RedisPresenceScripts
  private readonly additions = new ChannelBatches<LocalClient, AddResult>((batches) =>
    this.addBatches(batches),
  )
  private readonly removals = new ChannelBatches<ClientInfo, number>((batches) => this.removeBatches(batches))
  /** Channels of clients to be added that are not in Redis' set of this node's channels yet. */
  private readonly unregisteredChannels = new Set<string>()
  /** Clients that had been added, and left while Redis could not be reached: their leaves are still to be published. */
  private unreportedLeaves: LocalClient[] = []
  /** Whether this node's entries in Redis may differ from its clients. */
  private needsRestore = false
  /** Whether another node has swept this one since its clients were last restored. */
  private wasSwept = false
  /** Whether this node's lease may have lapsed since its clients were last restored. */
  private mayHaveLapsed = false
  /**
   * When channels were unregistered, the oldest first. In a Redis Cluster a failover may bring back the entry of a client
   * that has left, of a channel that is registered no more, since another server knows that.
   */
  private readonly unregisteredAtMs = new Map<string, number>()
  /** Whether Redis may have entries of this node whose clients have left. */
  private mayHaveDeparted = false
  /** Connections to Redis up to the last restoration: Redis may lose data before a new one. */
  private connectionsAtRestore = 0

  constructor(
    private readonly node: string,
    private readonly links: RedisLinks,
    private readonly keys: Keys,
  ) {
    this.remover = new RedisPresenceRemover(links, keys)
    this.scripts = new RedisPresenceScripts(node, keys)
  }

  async add(channel: string, info: ClientInfo): Promise<number> {
    if (!this.local.hasChannel(channel)) this.unregisteredChannels.add(channel)
    const client = this.local.add(channel, info)
    try {
      const { online } = await this.additions.add(channel, client)
      client.state = 'added'
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
      this.mayHaveDeparted = true
      if (known?.state === 'added' && this.unreportedLeaves.length < MAX_UNREPORTED_LEAVES)
        this.unreportedLeaves.push(known)
      throw error
    }
  }

  async list(
    channel: string,
    maxClients = Number.POSITIVE_INFINITY,
  ): Promise<ReadonlyMap<string, ClientInfo>> {
    const key = this.keys.presenceClients(channel)
    await this.flushChanges()
    return this.linkOf(channel).run('presence', async (redis) => {
      const found = new Map<string, ClientInfo>()
      const leases = new Map<string, boolean>([[this.node, true]])
      let cursor = '0'
      do {
        const [next, fields] = await redis.hscan(key, cursor, 'COUNT', LIST_BATCH)
        cursor = next
        await this.collectLive(fields, leases, found)
      } while (cursor !== '0' && found.size <= maxClients)
      return found
    })
  }

  async stats(channel: string): Promise<PresenceStats> {
    await this.flushChanges()
    const [clients, users] = await this.linkOf(channel).run('presence', (redis) =>
      Promise.all([
        redis.hlen(this.keys.presenceClients(channel)),
        redis.hlen(this.keys.presenceUsers(channel)),
      ]),
    )
    return { clients, users }
  }

  async restoreOwnClients(mayHaveLapsed: boolean, report: ReportPresence): Promise<void> {
    this.mayHaveLapsed ||= mayHaveLapsed
    const { connections } = this.links
    const isReconnected = connections !== this.connectionsAtRestore
    await this.flushChanges()
    if (!this.mayHaveLapsed && !this.needsRestore && !isReconnected) return
    this.needsRestore = false
    try {
      if (this.mayHaveLapsed) {
        const mark = await this.nodesLink.run('presence', (redis) => redis.getdel(this.keys.swept(this.node)))
        this.wasSwept ||= mark !== null
      }
      if (this.mayHaveLapsed || isReconnected) this.outdateClients(connections)
      await this.restoreWhatIsReachable(report)
      this.wasSwept = false
    } catch (error) {
      this.needsRestore = true
      throw error
    }
  }

  /** Rejects with the first failure after it has tried everything: a part of a Redis Cluster may be out. */
  private async restoreWhatIsReachable(report: ReportPresence): Promise<void> {
    const failures: unknown[] = []
    const attempt = async (step: Promise<void>) => {
      await step.catch((error: unknown) => failures.push(error))
    }
    if (this.mayHaveDeparted) {
      this.mayHaveDeparted = false
      await attempt(
        this.removeDepartedClients().catch((error: unknown) => {
          this.mayHaveDeparted = true
          throw error
        }),
      )
    }
    await attempt(this.reportLeaves(report))
    await attempt(this.restoreClients(report))
    if (failures.length > 0) throw failures[0]
  }

  async sweepDeadNode(node: string, report: ReportPresence): Promise<boolean> {
    const lock = this.keys.sweepLock(node)
    const locked = await this.nodesLink.run('presence', (redis) =>
      redis.set(lock, this.node, 'PX', SWEEP_LOCK_MS, 'NX'),
    )
    if (locked === null) return false
    try {
      // Before the lease is first read, so that a node that reconnects after that finds the mark.
      await this.nodesLink.run('presence', (redis) =>
        redis.set(this.keys.swept(node), this.node, 'PX', SWEPT_MS),
      )
      const isCompleted = await this.remover.removeClientsUnlessKept({
        node,
        keepsClient: () => false,
        keepsChannel: () => false,
        mayContinue: () => this.maySweep(node),
        report,
      })
      return isCompleted && (await this.isCleared(node))
    } finally {
      // Where Redis does not answer the lock expires, and what the sweep came to counts.
      await this.nodesLink
        .run('presence', (redis) => lockScript.run(redis, [lock], [this.node, 0]))
        .catch(() => undefined)
    }
  }

  async removeOwnClients(report: ReportPresence): Promise<void> {
    await this.flushChanges()
    await this.remover.removeClientsUnlessKept({
      node: this.node,
      keepsClient: () => false,
      keepsChannel: () => false,
      mayContinue: () => Promise.resolve(true),
      report,
    })
  }

  /**
   * Resolves with whether a node is still dead, and renews the lock of its sweep. Rejects with a BrokerError also where
   * another node has taken the lock: then that node goes on with the sweep.
   */
  private async maySweep(node: string): Promise<boolean> {
    const [lease, isRenewed] = await this.nodesLink.run('presence', (redis) =>
      Promise.all([
        redis.exists(this.keys.lease(node)),
        lockScript.run(redis, [this.keys.sweepLock(node)], [this.node, SWEEP_LOCK_MS]),
      ]),
    )
    if (lease === 0 && isRenewed === 0)
      throw new BrokerError('unavailable', 'the lock of a sweep has expired')
    return lease === 0
  }

  /**
   * Resolves with whether a swept node is still dead, and no client of it is left: it may have come back, or Redis may
   * have carried out a change of it late. A channel stays registered as long as it has clients.
   */
  private async isCleared(node: string): Promise<boolean> {
    const [isDead, channels] = await Promise.all([
      this.maySweep(node),
      this.nodesLink.run('presence', (redis) => redis.scard(this.keys.presenceChannels(node))),
    ])
    return isDead && channels === 0
  }

  /** All clients are to be restored: their entries may have been lost, or swept. */
  private outdateClients(connections: number): void {
    this.scripts.generation++
    this.mayHaveDeparted = true
    this.mayHaveLapsed = false
    this.connectionsAtRestore = connections
  }

  private rememberUnregistered(channels: readonly string[]): void {
    const nowMs = performance.now()
    for (const channel of channels) {
      this.unregisteredAtMs.delete(channel)
      this.unregisteredAtMs.set(channel, nowMs)
    }
    for (const [channel, atMs] of this.unregisteredAtMs) {
      const isOld = nowMs - atMs > UNREPLICATED_MS
      if (!isOld && this.unregisteredAtMs.size <= MAX_REMEMBERED_CHANNELS) break
      this.unregisteredAtMs.delete(channel)
    }
  }

  /** Removes entries of this node whose clients have left. */
  private async removeDepartedClients(): Promise<void> {
    await this.registerChannels([...this.unregisteredAtMs.keys()])
    await this.remover.removeClientsUnlessKept({
      node: this.node,
      keepsClient: (channel, client) => this.local.has(channel, client),
      keepsChannel: (channel) => this.local.hasChannel(channel),
      mayContinue: () => Promise.resolve(true),
      // The leaves to publish are `unreportedLeaves`, not the entries that are found here: Redis may have carried out a
      // removal late, after this node gave it up.
      report: () => Promise.resolve(),
    })
  }

  /** Reports the leaves that were not published during an outage. */
  private async reportLeaves(report: ReportPresence): Promise<void> {
    // The node that swept this one has published them.
    if (this.wasSwept) this.unreportedLeaves = []
    const leaves = this.unreportedLeaves
    this.unreportedLeaves = []
    let failure: unknown
    for (const batch of chunks(leaves, RESTORE_BATCH)) {
      const counts = await Promise.allSettled(batch.map(({ channel }) => this.countClients(channel)))
      const reports = batch.map((leave, index) => {
        const count = counts[index]
        if (count?.status === 'fulfilled') {
          const { channel, info } = leave
          return report({ type: 'leave', channel, info, online: count.value })
        }
        failure ??= count?.reason
        return this.unreportedLeaves.push(leave)
      })
      await Promise.all(reports)
    }
    if (failure !== undefined) throw failure
  }

  /**
   * Adds clients again that are missing in Redis, or whose entries are outdated, in batches. Rejects with the first
   * refusal after it has tried all of them.
   */
  private async restoreClients(report: ReportPresence): Promise<void> {
    let batch: LocalClient[] = []
    let hasUnreachable = false
    const refused: unknown[] = []
    for (const client of this.local) {
      // Its addition is under way, and sets the state when it ends.
      if (client.state === 'adding' || this.isCurrent(client)) continue
      if (!this.linkOf(client.channel).isUp) {
        hasUnreachable = true
        continue
      }
      batch.push(client)
      if (batch.length < RESTORE_BATCH) continue
      refused.push(...(await this.restoreBatch(batch, report)))
      batch = []
    }
    if (batch.length > 0) refused.push(...(await this.restoreBatch(batch, report)))
    if (hasUnreachable) refused.push(new BrokerError('unavailable', 'a part of Redis cannot be reached'))
    if (refused.length > 0) throw refused[0]
  }

  private isCurrent({ state, generation }: LocalClient): boolean {
    return state === 'added' && generation === this.scripts.generation
  }

  private countClients(channel: string): Promise<number> {
    const key = this.keys.presenceClients(channel)
    return this.linkOf(channel).run('presence', (redis) => redis.hlen(key))
  }

  private linkOf(channel: string): RedisLink {
    return this.links.linkFor(this.keys.presenceClients(channel))
  }

  /** The link to the server of all that concerns nodes. */
  private get nodesLink(): RedisLink {
    return this.links.linkFor(this.keys.presenceChannels(this.node))
  }

  /**
   * Writes the pending additions and removals, before the command that follows: so a client that has just joined is in the
   * presence that it reads, and one that has just left is not.
   */
  private async flushChanges(): Promise<void> {
    await Promise.all([this.additions.flush(), this.removals.flush()])
  }

  /**
   * Adds clients again, those that have not left by then. Resolves with the reasons for which Redis refused channels; a
   * refused channel does not keep the others from being restored.
   */
  private async restoreBatch(clients: readonly LocalClient[], report: ReportPresence): Promise<unknown[]> {
    const byChannel = groupBy(clients, ({ channel }) => channel)
    const batches = Array.from(byChannel, ([channel, items]) => ({ channel, items }))
    const outcomes = await this.registerAndAdd([...byChannel.keys()], batches)
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
    return refused
  }

  /** Marks a client as restored. Reports its join if none was published, or if a sweep has published its leave. */
  private confirmRestored(
    client: LocalClient,
    added: AddResult | undefined,
    report: ReportPresence,
  ): Promise<void> | undefined {
    const { channel, info, state } = client
    if (added === undefined || !this.local.has(channel, info.client)) {
      // The client has left meanwhile. Where Redis did not know the script, its addition was sent again, which may have
      // put it after the removal.
      this.needsRestore = true
      return undefined
    }
    client.state = 'added'
    const isUnreported = state === 'failed' || (added.wasAbsent && this.wasSwept)
    return isUnreported ? report({ type: 'join', channel, info, online: added.online }) : undefined
  }

  private addBatches(
    batches: readonly ChannelBatch<LocalClient>[],
  ): Promise<PromiseSettledResult<AddResult[]>[]> {
    const channels = batches
      .map(({ channel }) => channel)
      .filter((channel) => this.unregisteredChannels.delete(channel))
    return this.registerAndAdd(channels, batches)
  }

  /** Registers channels as this node's, and adds clients to theirs. */
  private async registerAndAdd(
    channels: readonly string[],
    batches: readonly ChannelBatch<LocalClient>[],
  ): Promise<PromiseSettledResult<AddResult[]>[]> {
    const { nodesLink } = this
    // Before the clients, so that a sweep finds the channels of all of them whenever this node dies.
    const registered = this.registerChannels(channels)
    const outcomes = this.settleByLink(batches, async (link, redis, { channel, items }) => {
      // Where one connection carries both, the order of the commands is enough.
      if (link !== nodesLink) await registered
      const { generation } = this.scripts
      for (const client of items) client.generation = generation
      return this.scripts.add(redis, channel, items)
    })
    await registered
    return outcomes
  }

  private async registerChannels(channels: readonly string[]): Promise<void> {
    if (channels.length === 0) return
    const key = this.keys.presenceChannels(this.node)
    await this.nodesLink.run('presence', (redis) => redis.sadd(key, ...channels))
  }

  private async removeBatches(
    batches: readonly ChannelBatch<ClientInfo>[],
  ): Promise<PromiseSettledResult<readonly number[]>[]> {
    const emptied: string[] = []
    const outcomes = await this.settleByLink(batches, async (_, redis, { channel, items }) => {
      const { ofThisNode, online } = await this.scripts.remove(redis, channel, items)
      if (ofThisNode === 0) emptied.push(channel)
      return online
    })
    const unused = emptied.filter((channel) => !this.local.hasChannel(channel))
    if (unused.length > 0) {
      const key = this.keys.presenceChannels(this.node)
      await this.nodesLink.run('presence', (redis) => redis.srem(key, ...unused))
      if (this.keys.isCluster) this.rememberUnregistered(unused)
    }
    return outcomes
  }

  /** Runs commands for batches, each on the link of its channel. Resolves with the outcome of each batch. */
  private async settleByLink<T, R>(
    batches: readonly ChannelBatch<T>[],
    command: (link: RedisLink, redis: Redis, batch: ChannelBatch<T>) => Promise<R>,
  ): Promise<PromiseSettledResult<R>[]> {
    const byLink = groupBy(batches, ({ channel }) => this.linkOf(channel))
    const outcomes = new Map<ChannelBatch<T>, PromiseSettledResult<R>>()
    const settleOn = async (link: RedisLink, own: readonly ChannelBatch<T>[]) => {
      const settled = await link.run('presence', (redis) =>
        link.settle(
          'presence_change',
          own.map((batch) => command(link, redis, batch)),
        ),
      )
      for (const [index, batch] of own.entries()) {
        const outcome = settled[index]
        if (outcome !== undefined) outcomes.set(batch, outcome)
      }
    }
    await Promise.all(
      Array.from(byLink, async ([link, own]) => {
        try {
          await settleOn(link, own)
        } catch (reason) {
          for (const batch of own) outcomes.set(batch, { status: 'rejected', reason })
        }
      }),
    )
    return batches.map((batch) => outcomes.get(batch) ?? { status: 'rejected', reason: undefined })
  }

  /** Adds the clients of live nodes to `found`. `leases` caches which nodes have a lease. */
  private async collectLive(
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
      const leaseKeys = unknown.map((node) => this.keys.lease(node))
      const values = await this.nodesLink.run('presence', (redis) => redis.mget(leaseKeys))
      for (const [index, node] of unknown.entries()) leases.set(node, typeof values[index] === 'string')
    }
    for (const { node, info } of entries) if (leases.get(node) === true) found.set(info.client, info)
  }
}
