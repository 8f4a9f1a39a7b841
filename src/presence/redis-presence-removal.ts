import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import { Script } from '../redis/script.js'
import { decodePresenceEntry } from './presence-entry.js'
import type { ReportPresence } from './presence-store.js'

const sweepScript = new Script('presence-sweep-3', 'presence-functions')

/** Clients that are read and taken out together: short for Redis, which does nothing else meanwhile. */
const CLIENT_BATCH = 100
/**
 * Channels that are seen to at once, so that very many small ones don't take a round trip each. Times the clients of a
 * batch it is also how many leaves wait to be published, a small part of what the relay's queue holds.
 */
const CHANNELS_AT_ONCE = 32

export interface Removal {
  /** Whose clients are taken out. */
  readonly node: string
  /** Who stays, and whether anybody of a channel does: asked in the same tick in which an order to Redis leaves. */
  readonly isKept: (channel: string, client?: string) => boolean
  /** Asked after reading clients, before taking them out; ends the removal with false. */
  readonly mayContinue: () => Promise<boolean>
  readonly report: ReportPresence
}

/** Takes a node's clients out of presence, channel by channel, in bounded batches. */
export class RedisPresenceRemoval {
  constructor(
    private readonly link: RedisLink,
    private readonly keys: Keys,
  ) {}

  /** Resolves with whether it came to its end. Rejects with a BrokerError. */
  async run(removal: Removal): Promise<boolean> {
    const channelsKey = this.keys.presenceChannels(removal.node)
    for await (const channels of this.scan(channelsKey, CHANNELS_AT_ONCE)) {
      // Small sets come in one piece, whatever was asked for.
      for (let start = 0; start < channels.length; start += CHANNELS_AT_ONCE) {
        const some = channels.slice(start, start + CHANNELS_AT_ONCE)
        const ends = await Promise.all(some.map((channel) => this.clearChannel(channel, removal)))
        if (ends.includes(false)) return false
      }
    }
    return true
  }

  private async clearChannel(channel: string, removal: Removal): Promise<boolean> {
    const nodeKey = this.keys.presenceOfNode(removal.node, channel)
    for await (const clients of this.scan(nodeKey, CLIENT_BATCH)) {
      for (let start = 0; start < clients.length; start += CLIENT_BATCH) {
        const some = clients.slice(start, start + CLIENT_BATCH)
        const unwanted = some.filter((client) => !removal.isKept(channel, client))
        if (unwanted.length > 0 && !(await this.removeBatch(channel, unwanted, removal))) return false
      }
    }
    return this.unregisterChannel(channel, removal)
  }

  private async unregisterChannel(channel: string, { node, isKept, mayContinue }: Removal): Promise<boolean> {
    const nodeKey = this.keys.presenceOfNode(node, channel)
    const channelsKey = this.keys.presenceChannels(node)
    const left = await this.link.run((redis) => redis.scard(nodeKey))
    if (left > 0 || isKept(channel)) return true
    await this.link.run((redis) => redis.srem(channelsKey, channel))
    if (await mayContinue()) return true
    // The node may have come back and named the channel a moment before it was forgotten.
    await this.link.run((redis) => redis.sadd(channelsKey, channel))
    return false
  }

  private async removeBatch(
    channel: string,
    clients: readonly string[],
    { node, isKept, mayContinue, report }: Removal,
  ): Promise<boolean> {
    const keys = [
      this.keys.presenceClients(channel),
      this.keys.presenceUsers(channel),
      this.keys.presenceOfNode(node, channel),
    ] as const
    const entries = await this.link.run((redis) => redis.hmget(keys[0], ...clients))
    if (!(await mayContinue())) return false
    const unwanted = clients
      .map((client, index) => ({ client, entry: entries[index] ?? '' }))
      .filter(({ client }) => !isKept(channel, client))
    if (unwanted.length === 0) return true
    const args = unwanted.flatMap(({ client, entry }) => [client, entry])
    const answer = (await this.link.run((redis) => sweepScript.run(redis, keys, args))) as number[]
    const [left = 0, , ...taken] = answer
    const gone = unwanted.filter((_, index) => taken[index] === 1)
    const reports = gone.map(({ client, entry }, index) => {
      const info = decodePresenceEntry(client, entry)?.info
      const online = left + gone.length - 1 - index
      return info === undefined ? undefined : report({ type: 'leave', channel, info, online })
    })
    await Promise.all(reports)
    return true
  }

  private async *scan(key: string, count: number): AsyncIterableIterator<string[]> {
    let cursor = '0'
    do {
      const [next, members] = await this.link.run((redis) => redis.sscan(key, cursor, 'COUNT', count))
      cursor = next
      yield members
    } while (cursor !== '0')
  }
}
