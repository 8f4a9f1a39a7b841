import { chunks } from '../chunks.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLinks } from '../redis/redis-links.js'
import { Script } from '../redis/script.js'
import { decodePresenceEntry } from './presence-entry.js'
import type { ReportPresence } from './presence-store.js'

const sweepScript = new Script('presence-sweep-3', 'presence-functions')

/** Clients that are read and removed together: few, since Redis does nothing else during a script. */
const CLIENT_BATCH = 100
/**
 * Channels that are cleared at once, so that very many small ones don't take a round trip each. Times CLIENT_BATCH, it
 * bounds the leaves that wait to be published: a small part of the relay queue's limit.
 */
const CHANNELS_AT_ONCE = 32

/** A removal of one node's clients: all of them, or those that have left. */
export interface ClientRemoval {
  /** The node whose clients are removed. */
  readonly node: string
  /** Whether a client stays. Called in the tick in which a command to Redis is issued, so that it cannot be outdated. */
  readonly keepsClient: (channel: string, client: string) => boolean
  /** Whether the channel stays registered as one of the node's. Called in the tick of the command, too. */
  readonly keepsChannel: (channel: string) => boolean
  /**
   * Called after clients' entries are read and before they are removed, and after a channel is unregistered. Resolving
   * with false ends the removal.
   */
  readonly mayContinue: () => Promise<boolean>
  /** Called for each client that was removed. */
  readonly report: ReportPresence
}

/** Removes a node's clients from presence, channel by channel, in bounded batches. */
export class RedisPresenceRemover {
  constructor(
    private readonly links: RedisLinks,
    private readonly keys: Keys,
  ) {}

  /**
   * Removes the node's clients but for those that `keepsClient` spares, and unregisters the channels that are then empty.
   * Resolves with whether it was completed: false where `mayContinue` ended it. Clients whose entries were changed
   * meanwhile are left also then, and their channels stay registered. Rejects with a BrokerError, where channels could not
   * be cleared after it has tried all of them: they may be on a server that is out, and others not.
   */
  async removeClientsUnlessKept(removal: ClientRemoval): Promise<boolean> {
    const channelsKey = this.keys.presenceChannels(removal.node)
    let failure: unknown
    for await (const channels of this.scan(channelsKey, CHANNELS_AT_ONCE)) {
      // Redis returns a small set whole, whatever COUNT is.
      for (const batch of chunks(channels, CHANNELS_AT_ONCE)) {
        const outcomes = await Promise.allSettled(batch.map((channel) => this.clearChannel(channel, removal)))
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') failure ??= outcome.reason
          else if (!outcome.value) return false
        }
      }
    }
    if (failure !== undefined) throw failure
    return true
  }

  /** Resolves with whether it was completed, as all methods below do. */
  private async clearChannel(channel: string, removal: ClientRemoval): Promise<boolean> {
    const nodeKey = this.keys.presenceOfNode(removal.node, channel)
    for await (const clients of this.scan(nodeKey, CLIENT_BATCH)) {
      for (const batch of chunks(clients, CLIENT_BATCH)) {
        const departed = batch.filter((client) => !removal.keepsClient(channel, client))
        if (departed.length > 0 && !(await this.removeBatch(channel, departed, removal))) return false
      }
    }
    return this.unregisterChannel(channel, removal)
  }

  /** Removes the channel from the set of the node's channels, unless it still has clients of the node. */
  private async unregisterChannel(
    channel: string,
    { node, keepsChannel, mayContinue }: ClientRemoval,
  ): Promise<boolean> {
    const nodeKey = this.keys.presenceOfNode(node, channel)
    const channelsKey = this.keys.presenceChannels(node)
    const left = await this.links.linkFor(nodeKey).run('presence', (redis) => redis.scard(nodeKey))
    if (left > 0 || keepsChannel(channel)) return true
    await this.links.linkFor(channelsKey).run('presence', (redis) => redis.srem(channelsKey, channel))
    if (await mayContinue()) return true
    // The node may have reconnected, and registered the channel just before it was removed here.
    await this.links.linkFor(channelsKey).run('presence', (redis) => redis.sadd(channelsKey, channel))
    return false
  }

  private async removeBatch(
    channel: string,
    clients: readonly string[],
    { node, keepsClient, mayContinue, report }: ClientRemoval,
  ): Promise<boolean> {
    const keys = [
      this.keys.presenceClients(channel),
      this.keys.presenceUsers(channel),
      this.keys.presenceOfNode(node, channel),
    ] as const
    const link = this.links.linkFor(keys[0])
    const entries = await link.run('presence', (redis) => redis.hmget(keys[0], ...clients))
    if (!(await mayContinue())) return false
    const departed = clients
      .map((client, index) => ({ client, entry: entries[index] ?? '' }))
      .filter(({ client }) => !keepsClient(channel, client))
    if (departed.length === 0) return true
    const args = departed.flatMap(({ client, entry }) => [client, entry])
    const answer = (await this.links
      .linkFor(keys[0])
      .run('presence', (redis) => sweepScript.run(redis, keys, args))) as number[]
    const [left = 0, , ...flags] = answer
    const removed = departed.filter((_, index) => flags[index] === 1)
    const reports = removed.map(({ client, entry }, index) => {
      const info = decodePresenceEntry(client, entry)?.info
      const online = left + removed.length - 1 - index
      return info === undefined ? undefined : report({ type: 'leave', channel, info, online })
    })
    await Promise.all(reports)
    return true
  }

  /** Yields the elements of a set, in pieces of about `count`. */
  private async *scan(key: string, count: number): AsyncIterableIterator<string[]> {
    let cursor = '0'
    do {
      const [next, elements] = await this.links
        .linkFor(key)
        .run('presence', (redis) => redis.sscan(key, cursor, 'COUNT', count))
      cursor = next
      yield elements
    } while (cursor !== '0')
  }
}
