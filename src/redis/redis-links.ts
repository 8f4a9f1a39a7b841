import type { RedisReason } from './redis-errors.js'
import type { RedisLink } from './redis-link.js'

/** A node's way to one Redis: one link, or one for each master of a Redis Cluster. */
export interface RedisLinks {
  /** The link to the server of a key or a Redis channel, for now: its slot may move. All of one slot have the same one. */
  linkFor(key: string): RedisLink
  /** Splits keys into lists that one script may use together, by their index. */
  groupsOf(keys: readonly string[]): readonly (readonly number[])[]
  /** Reasons why Redis cannot do all that is needed of it, by shard. Shards without one are left out. */
  readonly reasonsByShard: Readonly<Record<string, readonly RedisReason[]>>
  /** How often a connection for commands was established: Redis may have lost data in between. */
  readonly connections: number
  /** Starts connecting, and reconnects for ever. */
  start(): void
  /**
   * Calls back with Redis channels that are subscribed again after an interruption, which may have lost messages, and some
   * that are for the first time.
   */
  onResumed(callback: (redisChannels: readonly string[]) => void): void
  close(): void
}
