import type { ClientInfo } from '../protocol/client-info.js'

export interface PresenceStats {
  readonly clients: number
  /** Different users; all clients without a name count as one. */
  readonly users: number
}

/**
 * Knows who is in which channel, cluster-wide. All of it rejects with a BrokerError within 2 s when that can't be known
 * or kept; whoever was added or removed meanwhile is put right by `PresenceUpkeep`.
 */
export interface PresenceStore {
  /** Resolves with the number of clients in the channel then. Adding a client twice counts once. */
  add(channel: string, info: ClientInfo): Promise<number>
  /** Resolves with the number of clients left. */
  remove(channel: string, info: ClientInfo): Promise<number>
  /**
   * Everybody in the channel, by client id; nobody of a node that is dead. Where that is more than `maxClients`, not all
   * of them, but more than `maxClients` still.
   */
  list(channel: string, maxClients?: number): Promise<ReadonlyMap<string, ClientInfo>>
  /** Takes the same time however many there are. Clients of a dead node count until they are swept. */
  stats(channel: string): Promise<PresenceStats>
}

/** Somebody came or went without a call to the store that could say so. */
export interface PresenceChange {
  readonly type: 'join' | 'leave'
  readonly channel: string
  readonly info: ClientInfo
  /** Clients in the channel after it. */
  readonly online: number
}

/** Tells a channel of a change; never rejects. */
export type ReportPresence = (change: PresenceChange) => Promise<void>

/** What keeps shared presence right over crashes and outages. All of it may be called again after it was rejected. */
export interface PresenceUpkeep {
  /**
   * Puts this node's clients back where the shared presence has lost them, and takes out who has left meanwhile.
   * Reports joins and leaves that nobody was told of. Cheap where nothing is known to have gone wrong.
   * @param hasLapsed whether other nodes may have taken this one for dead.
   */
  restore(hasLapsed: boolean, report: ReportPresence): Promise<void>
  /**
   * Takes out the clients of a dead node, and reports their leaves. Resolves with whether none is left: not while
   * another node does it, nor when the node turns out to be alive.
   */
  sweep(node: string, report: ReportPresence): Promise<boolean>
  /** Takes out whatever this node has left, for it stops. */
  removeOwn(report: ReportPresence): Promise<void>
}
