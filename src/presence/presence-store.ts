import type { ClientInfo } from '../protocol/client-info.js'

/** Knows who is in which channel. */
export interface PresenceStore {
  /** Resolves with the number of clients in the channel then. Adding a client twice counts once. */
  add(channel: string, info: ClientInfo): Promise<number>
  /** Resolves with the number of clients left. */
  remove(channel: string, info: ClientInfo): Promise<number>
}
