import type { ClientInfo } from '../protocol/client-info.js'

/**
 * State of a client in the shared presence store. `adding`: its addition is under way. `added`: its addition was
 * confirmed to the caller. `failed`: the caller's addition was rejected, though Redis may have carried it out.
 */
export type LocalClientState = 'adding' | 'added' | 'failed'

/** A client of this node in one channel. */
export interface LocalClient {
  readonly channel: string
  readonly info: ClientInfo
  state: LocalClientState
  /** Generation of the entry that was sent last; see RedisPresenceScripts. */
  generation: number
}

/** The presence of this node's own clients, by channel. As large as its subscriptions. */
export class LocalPresence {
  private readonly channels = new Map<string, Map<string, LocalClient>>()

  /** Adds a client in state `adding`, in place of an earlier one with its id. */
  add(channel: string, info: ClientInfo): LocalClient {
    const added: LocalClient = { channel, info, state: 'adding', generation: 0 }
    const clients = this.channels.get(channel)
    if (clients === undefined) this.channels.set(channel, new Map([[info.client, added]]))
    else clients.set(info.client, added)
    return added
  }

  /** Returns the client that was deleted; undefined where the channel had none with this id. */
  delete(channel: string, client: string): LocalClient | undefined {
    const clients = this.channels.get(channel)
    const known = clients?.get(client)
    clients?.delete(client)
    if (clients?.size === 0) this.channels.delete(channel)
    return known
  }

  has(channel: string, client: string): boolean {
    return this.channels.get(channel)?.has(client) === true
  }

  hasChannel(channel: string): boolean {
    return this.channels.has(channel)
  }

  /** All clients, in every channel. A client that is deleted during the iteration is left out from then on. */
  *[Symbol.iterator](): IterableIterator<LocalClient> {
    for (const clients of this.channels.values()) yield* clients.values()
  }
}
