import type { ClientInfo } from '../protocol/client-info.js'
import type { PresenceStore } from './presence-store.js'

/** Presence of one node's own clients. */
export class MemoryPresenceStore implements PresenceStore {
  /** Channel → client → info. As large as the node's subscriptions. */
  private readonly channels = new Map<string, Map<string, ClientInfo>>()

  add(channel: string, info: ClientInfo): Promise<number> {
    let clients = this.channels.get(channel)
    if (clients === undefined) {
      clients = new Map()
      this.channels.set(channel, clients)
    }
    clients.set(info.client, info)
    return Promise.resolve(clients.size)
  }

  remove(channel: string, { client }: ClientInfo): Promise<number> {
    const clients = this.channels.get(channel)
    if (clients === undefined) return Promise.resolve(0)
    clients.delete(client)
    if (clients.size === 0) this.channels.delete(channel)
    return Promise.resolve(clients.size)
  }
}
