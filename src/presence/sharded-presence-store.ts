import type { ClientInfo } from '../protocol/client-info.js'
import type { PresenceStats, PresenceStore } from './presence-store.js'

/** Several presence stores, each for the channels that are placed on it. */
export class ShardedPresenceStore implements PresenceStore {
  constructor(private readonly storeOf: (channel: string) => PresenceStore) {}

  add(channel: string, info: ClientInfo): Promise<number> {
    return this.storeOf(channel).add(channel, info)
  }

  remove(channel: string, info: ClientInfo): Promise<number> {
    return this.storeOf(channel).remove(channel, info)
  }

  list(channel: string, maxClients?: number): Promise<ReadonlyMap<string, ClientInfo>> {
    return this.storeOf(channel).list(channel, maxClients)
  }

  stats(channel: string): Promise<PresenceStats> {
    return this.storeOf(channel).stats(channel)
  }
}
