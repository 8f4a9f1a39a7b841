import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import { Script } from '../redis/script.js'
import { encodePresenceEntry } from './presence-entry.js'

const addScript = new Script('presence-add-3', 'presence-functions')
const removeScript = new Script('presence-remove-3', 'presence-functions')

/** Clients that one script call is about: short for Redis, which does nothing else meanwhile. */
const SCRIPT_BATCH = 100

type RunCommands = Parameters<RedisLink['run']>[0]
export type Redis = Parameters<RunCommands>[0]

/** Of a client that was added. */
export interface Added {
  /** Clients in the channel then. */
  readonly online: number
  /** Whether it was not among them before. */
  readonly wasAbsent: boolean
}

/** Of clients that were removed. */
export interface Removed {
  /** How many of this node's clients are left in the channel. */
  readonly ofThisNode: number
  /** For each, how many of all were left after it. */
  readonly online: readonly number[]
}

/** Orders to Redis that change who is in a channel. */
export class RedisPresenceScripts {
  /** Grows when this node renews its entries: to a sweep of it, they are others then. */
  generation = 0

  constructor(
    private readonly node: string,
    private readonly keys: Keys,
  ) {}

  async add(
    redis: Redis,
    channel: string,
    clients: readonly { readonly info: ClientInfo }[],
  ): Promise<Added[]> {
    const answers = await Promise.all(
      inPieces(clients).map((piece) => {
        const args = piece.flatMap(({ info }) => [
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

  async remove(
    redis: Redis,
    channel: string,
    clients: readonly Pick<ClientInfo, 'client' | 'user'>[],
  ): Promise<Removed> {
    const answers = await Promise.all(
      inPieces(clients).map((piece) => {
        const args = piece.flatMap(({ client, user }) => [client, user])
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

/** What became of each order: what Redis refuses of one channel is no other's affair. Reasons are BrokerErrors. */
export function outcomesOf<T>(orders: readonly Promise<T>[]): Promise<PromiseSettledResult<T>[]> {
  return Promise.allSettled(
    orders.map((order) =>
      order.catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error)
        throw new BrokerError('unavailable', `Redis did not take it: ${why}`, { cause: error })
      }),
    ),
  )
}

function inPieces<T>(items: readonly T[]): (readonly T[])[] {
  const pieces: (readonly T[])[] = []
  for (let start = 0; start < items.length; start += SCRIPT_BATCH) {
    pieces.push(items.slice(start, start + SCRIPT_BATCH))
  }
  return pieces
}
