import type { ClientInfo } from '../protocol/client-info.js'

/**
 * `pending`: being added. `kept`: added, and whoever asked has been told. `failed`: perhaps added, and whoever asked was
 * told that it failed.
 */
export type LocalState = 'pending' | 'kept' | 'failed'

export interface LocalClient {
  readonly channel: string
  readonly info: ClientInfo
  state: LocalState
}

/** Who is in which channel on this node. As large as its subscriptions. */
export class LocalPresence {
  private readonly channels = new Map<string, Map<string, LocalClient>>()

  set(channel: string, info: ClientInfo): LocalClient {
    const local: LocalClient = { channel, info, state: 'pending' }
    const clients = this.channels.get(channel)
    if (clients === undefined) this.channels.set(channel, new Map([[info.client, local]]))
    else clients.set(info.client, local)
    return local
  }

  /** Returns who that was. */
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

  /** Everybody; whoever leaves while this is read is left out from then on. */
  *[Symbol.iterator](): IterableIterator<LocalClient> {
    for (const clients of this.channels.values()) yield* clients.values()
  }
}
