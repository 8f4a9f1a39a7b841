import type { ServerSubscription } from '../connection/connection.js'
import type { ConnectionSelector } from '../connection/connection-control.js'
import type { Close } from '../protocol/closes.js'

/** What nodes tell each other beside channel events. */
export type PeerMessage =
  | { readonly type: 'probe'; readonly sentAtMs: number }
  | { readonly type: 'question'; readonly id: string; readonly from: string; readonly ask: Question }
  | { readonly type: 'answer'; readonly id: string; readonly from: string; readonly answer: unknown }

/** What a node can be asked to do to its connections. */
export type ControlQuestion =
  | {
      readonly about: 'subscribe'
      readonly to: ConnectionSelector
      readonly channel: string
      readonly options: ServerSubscription
    }
  | { readonly about: 'unsubscribe'; readonly to: ConnectionSelector; readonly channel: string }
  | {
      readonly about: 'disconnect'
      readonly to: ConnectionSelector
      readonly close: Close
      /** Clients that stay. */
      readonly whitelist: readonly string[]
    }
  /** `data` is one line of JSON. */
  | { readonly about: 'message'; readonly to: ConnectionSelector; readonly data: string }
  | { readonly about: 'refresh'; readonly to: ConnectionSelector; readonly expiresAtMs?: number | undefined }

/** What a node can be asked. */
export type Question =
  | { readonly about: 'info' }
  | { readonly about: 'channels'; readonly pattern: string }
  | ControlQuestion

/** The nodes of the cluster: who is alive, and a way to talk to them. */
export interface Peers {
  /** Once; then messages to this node, its own included, go to the handler. Resolves when they do. */
  start(handler: (message: PeerMessage) => void): Promise<void>
  /**
   * Says that this node is alive; to be repeated every `ANNOUNCE_INTERVAL_MS`. Resolves with whether others may have
   * taken it for dead since the last time; rejects where nobody can be told.
   */
  announce(): Promise<boolean>
  /** Ids of the nodes that are alive, this one included. Rejects where that can't be known. */
  aliveNodes(): Promise<readonly string[]>
  sendToAll(message: PeerMessage): Promise<void>
  sendTo(node: string, message: PeerMessage): Promise<void>
  /** Says that this node is gone. */
  leave(): Promise<void>
  /** Makes the connection that messages come over anew, since nothing is heard over it. */
  reconnect(): void
}

export const ANNOUNCE_INTERVAL_MS = 3_000
/** After which a node that was not heard of is taken for dead. */
export const LEASE_MS = 10_000
