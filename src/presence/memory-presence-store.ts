import type { ClientInfo } from '../protocol/client-info.js'
import type { PresenceStats, PresenceStore } from './presence-store.js'

interface ChannelPresence {
  readonly clients: Map<string, ClientInfo>
  /** User → number of its clients, so that counting users reads no client. */
  readonly users: Map<string, number>
}

/** The presence store of a node that runs alone. As large as its subscriptions. */
export class MemoryPresenceStore implements PresenceStore {
  private readonly channels = new Map<string, ChannelPresence>()

  add(channel: string, info: ClientInfo): Promise<number> {
    let presence = this.channels.get(channel)
    if (presence === undefined) {
      presence = { clients: new Map(), users: new Map() }
      this.channels.set(channel, presence)
    }
    this.removeClient(presence, info.client)
    presence.clients.set(info.client, info)
    presence.users.set(info.user, (presence.users.get(info.user) ?? 0) + 1)
    return Promise.resolve(presence.clients.size)
  }

  remove(channel: string, { client }: ClientInfo): Promise<number> {
    const presence = this.channels.get(channel)
    if (presence === undefined) return Promise.resolve(0)
    this.removeClient(presence, client)
    if (presence.clients.size === 0) this.channels.delete(channel)
    return Promise.resolve(presence.clients.size)
  }

  list(channel: string, maxClients = Number.POSITIVE_INFINITY): Promise<ReadonlyMap<string, ClientInfo>> {
    const found = new Map<string, ClientInfo>()
    for (const [client, info] of this.channels.get(channel)?.clients ?? []) {
      found.set(client, info)
      if (found.size > maxClients) break
    }
    return Promise.resolve(found)
  }

  stats(channel: string): Promise<PresenceStats> {
    const presence = this.channels.get(channel)
    return Promise.resolve({ clients: presence?.clients.size ?? 0, users: presence?.users.size ?? 0 })
  }

  private removeClient({ clients, users }: ChannelPresence, client: string): void {
    // Its user is the one that it was added with, which the caller's info may no longer name.
    const known = clients.get(client)
    if (known === undefined) return
    clients.delete(client)
    const left = (users.get(known.user) ?? 1) - 1
    if (left === 0) users.delete(known.user)
    else users.set(known.user, left)
  }
}
