import type { ClientInfo } from '../protocol/client-info.js'

export interface PresenceStats {
  readonly clients: number
  /** Different users; all anonymous clients count as one. */
  readonly users: number
}

/**
 * The clients in each channel, cluster-wide. Every method rejects with a BrokerError within 2 s when the store cannot be
 * reached; an addition or removal that failed so is made up for by `PresenceUpkeep`.
 */
export interface PresenceStore {
  /** Resolves with the number of clients in the channel after it. A client that is added twice counts once. */
  add(channel: string, info: ClientInfo): Promise<number>
  /** Resolves with the number of clients in the channel after it. */
  remove(channel: string, info: ClientInfo): Promise<number>
  /**
   * Resolves with the clients in the channel, by client id, without those of dead nodes. Where there are more than
   * `maxClients`, it resolves with only some of them, but with more than `maxClients`, so that the caller notices.
   */
  list(channel: string, maxClients?: number): Promise<ReadonlyMap<string, ClientInfo>>
  /** Takes the same time for any number of clients. Clients of a dead node count until they are swept. */
  stats(channel: string): Promise<PresenceStats>
}

/** A join or leave that was found in the store, rather than made by a call of `add` or `remove` on this node. */
export interface PresenceChange {
  readonly type: 'join' | 'leave'
  readonly channel: string
  readonly info: ClientInfo
  /** Clients in the channel after it. */
  readonly online: number
}

/** Publishes a change to its channel. Never rejects. */
export type ReportPresence = (change: PresenceChange) => Promise<void>

/** Corrects shared presence after crashes and outages. Every method may be called again after it rejected. */
export interface PresenceUpkeep {
  /**
   * Adds this node's clients again where the store has lost them, and removes those that left meanwhile. Reports the
   * joins and leaves that were not published. Cheap where nothing is known to have gone wrong. Rejects with a
   * BrokerError.
   * @param mayHaveLapsed whether other nodes may have taken this one for dead.
   */
  restoreOwnClients(mayHaveLapsed: boolean, report: ReportPresence): Promise<void>
  /**
   * Removes the clients of a dead node, and reports their leaves. Resolves with whether none is left: false while
   * another node sweeps it, and when the node turns out to be alive. Rejects with a BrokerError.
   */
  sweepDeadNode(node: string, report: ReportPresence): Promise<boolean>
  /** Removes every client of this node, which stops, and reports their leaves. Rejects with a BrokerError. */
  removeOwnClients(report: ReportPresence): Promise<void>
}
