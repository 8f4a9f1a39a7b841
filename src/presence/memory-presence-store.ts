import type { ClientInfo } from '../protocol/client-info.js'
import type { PresenceStats, PresenceStore } from './presence-store.js'

interface Channel {
  readonly clients: Map<string, ClientInfo>
  /** User → number of clients, so that counting users reads no client. */
  readonly users: Map<string, number>
}

/** Presence of one node's own clients. As large as its subscriptions. */
export class MemoryPresenceStore implements PresenceStore {
  private readonly channels = new Map<string, Channel>()

  add(name: string, info: ClientInfo): Promise<number> {
    let channel = this.channels.get(name)
    if (channel === undefined) {
      channel = { clients: new Map(), users: new Map() }
      this.channels.set(name, channel)
    }
    this.forget(channel, info.client)
    channel.clients.set(info.client, info)
    channel.users.set(info.user, (channel.users.get(info.user) ?? 0) + 1)
    return Promise.resolve(channel.clients.size)
  }

  remove(name: string, { client }: ClientInfo): Promise<number> {
    const channel = this.channels.get(name)
    if (channel === undefined) return Promise.resolve(0)
    this.forget(channel, client)
    if (channel.clients.size === 0) this.channels.delete(name)
    return Promise.resolve(channel.clients.size)
  }

  list(name: string, maxClients = Number.POSITIVE_INFINITY): Promise<ReadonlyMap<string, ClientInfo>> {
    const found = new Map<string, ClientInfo>()
    for (const [client, info] of this.channels.get(name)?.clients ?? []) {
      found.set(client, info)
      if (found.size > maxClients) break
    }
    return Promise.resolve(found)
  }

  stats(name: string): Promise<PresenceStats> {
    const channel = this.channels.get(name)
    return Promise.resolve({ clients: channel?.clients.size ?? 0, users: channel?.users.size ?? 0 })
  }

  private forget({ clients, users }: Channel, client: string): void {
    // As what it was added, whatever it is called now.
    const known = clients.get(client)
    if (known === undefined) return
    clients.delete(client)
    const left = (users.get(known.user) ?? 1) - 1
    if (left === 0) users.delete(known.user)
    else users.set(known.user, left)
  }
}
