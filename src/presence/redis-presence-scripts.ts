import { chunks } from '../chunks.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import { Script } from '../redis/script.js'
import { encodePresenceEntry } from './presence-entry.js'

const addScript = new Script('presence-add-3', 'presence-functions')
const removeScript = new Script('presence-remove-3', 'presence-functions')

/** Clients in one script call: few, since Redis does nothing else during a script. */
const SCRIPT_BATCH = 100

type RunCommands = Parameters<RedisLink['run']>[1]
export type Redis = Parameters<RunCommands>[0]

/** What adding a client did. */
export interface AddResult {
  /** Number of clients in the channel after it. */
  readonly online: number
  /** Whether the client was not in the channel before. */
  readonly wasAbsent: boolean
}

/** What removing clients from a channel did. */
export interface RemoveResult {
  /** Number of this node's clients that are left in the channel. */
  readonly ofThisNode: number
  /** For each client, the number of all clients that were left after it. */
  readonly online: readonly number[]
}

/** Runs the scripts that add this node's clients to channels and remove them. */
export class RedisPresenceScripts {
  /** Incremented before this node renews its entries: a sweep that read the old ones leaves the new ones alone. */
  generation = 0

  constructor(
    private readonly node: string,
    private readonly keys: Keys,
  ) {}

  /** Resolves with a result for each client. Rejects with Redis' error. */
  async add(
    redis: Redis,
    channel: string,
    clients: readonly { readonly info: ClientInfo }[],
  ): Promise<AddResult[]> {
    const answers = await Promise.all(
      chunks(clients, SCRIPT_BATCH).map((batch) => {
        const args = batch.flatMap(({ info }) => [
          info.client,
          info.user,
          encodePresenceEntry({ node: this.node, info }, this.generation),
        ])
        return addScript.run(redis, this.keysOf(channel), args) as Promise<number[]>
      }),
    )
    const numbers = answers.flat()
    return clients.map((_, index) => ({
      online: numbers[2 * index] ?? 0,
      wasAbsent: numbers[2 * index + 1] === 1,
    }))
  }

  /** Rejects with Redis' error. */
  async remove(
    redis: Redis,
    channel: string,
    clients: readonly Pick<ClientInfo, 'client' | 'user'>[],
  ): Promise<RemoveResult> {
    const answers = await Promise.all(
      chunks(clients, SCRIPT_BATCH).map((batch) => {
        const args = batch.flatMap(({ client, user }) => [client, user])
        return removeScript.run(redis, this.keysOf(channel), args) as Promise<[number, ...number[]]>
      }),
    )
    return { ofThisNode: answers.at(-1)?.[0] ?? 0, online: answers.flatMap(([, ...online]) => online) }
  }

  private keysOf(channel: string): readonly string[] {
    return [
      this.keys.presenceClients(channel),
      this.keys.presenceUsers(channel),
      this.keys.presenceOfNode(this.node, channel),
    ]
  }
}
