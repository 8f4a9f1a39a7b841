import type { ServerSubscription } from '../connection/connection.js'
import type { ConnectionSelector } from '../connection/connection-control.js'
import type { Close } from '../protocol/closes.js'

/** Messages between nodes, beside the events of channels. */
export type PeerMessage =
  | { readonly type: 'probe'; readonly sentAtMs: number }
  | { readonly type: 'question'; readonly id: string; readonly from: string; readonly ask: Question }
  | {
      readonly type: 'answer'
      readonly id: string
      readonly from: string
      /** Null where the question is refused: no question has an answer of that shape. */
      readonly answer: unknown
      /** Why the node that was asked does not answer. */
      readonly refusal?: string | undefined
    }

/** A message as a node receives it. Nodes of another version may send what this one does not know. */
export type ReceivedMessage =
  | PeerMessage
  | { readonly type: 'unknown-question'; readonly id: string; readonly from: string }
  | { readonly type: 'unknown' }

/** Operations that a node can be asked to apply to its connections. */
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
      /** Ids of clients that are not disconnected. */
      readonly whitelist: readonly string[]
    }
  /** `data` is one line of JSON. */
  | { readonly about: 'message'; readonly to: ConnectionSelector; readonly data: string }
  | { readonly about: 'refresh'; readonly to: ConnectionSelector; readonly expiresAtMs?: number | undefined }

/** Questions that a node answers. */
export type Question =
  | { readonly about: 'info' }
  | { readonly about: 'channels'; readonly pattern: string }
  | ControlQuestion

/** Which nodes of the cluster are alive, as those tell that have announced themselves in one place. */
export interface Membership {
  /**
   * Announces that this node is alive; to be repeated every `ANNOUNCE_INTERVAL_MS`. Resolves with whether other nodes
   * may have taken this one for dead since the last announcement. Rejects with a BrokerError within 2 s.
   */
  announce(): Promise<boolean>
  /** Resolves with the ids of the nodes that are alive, this one included. Rejects with a BrokerError within 2 s. */
  aliveNodes(): Promise<readonly string[]>
  /** Announces that this node has stopped. Rejects with a BrokerError within 2 s. */
  leave(): Promise<void>
}

/** The nodes of the cluster: which of them are alive, and messages to them. */
export interface Peers extends Membership {
  /**
   * Passes messages to this node, its own included, to the handler. Resolves when messages sent from then on will be
   * received. Rejects with a BrokerError within 2 s otherwise, and may be called again then.
   */
  start(handler: (message: ReceivedMessage) => void): Promise<void>
  /** Sends a message to every node, this one included. Rejects with a BrokerError within 2 s. */
  sendToAll(message: PeerMessage): Promise<void>
  /** Sends a message to one node, which may be this one. Rejects with a BrokerError within 2 s. */
  sendTo(node: string, message: PeerMessage): Promise<void>
  /** Replaces the connection that messages are received over, if nothing has been received on it lately. */
  reconnect(): void
}

/** Time between two announcements of a node. */
export const ANNOUNCE_INTERVAL_MS = 1_000
/** Time after its last announcement at which a node is taken for dead. */
export const LEASE_MS = 10_000
