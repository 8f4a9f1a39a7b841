/** Knows who is in which channel. */
export interface PresenceStore {
  /** Resolves with the number of clients in the channel then. Adding a client twice counts once. */
  add(channel: string, client: string, user: string): Promise<number>
  /** Resolves with the number of clients left. */
  remove(channel: string, client: string): Promise<number>
}
