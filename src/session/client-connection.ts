import type { Authenticator } from '../auth/authenticator.js'
import type { Broker } from '../broker/broker.js'
import type { Connection } from '../connection/connection.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { Hooks } from './hooks.js'
import type { SessionContext } from './session.js'
import type { Subscription } from './subscription.js'

/** What all sessions of the Centrifuge protocol use. */
export interface ClientSessionContext extends SessionContext {
  readonly broker: Broker
  readonly authenticator: Authenticator
  readonly hooks: Hooks
  readonly node: { readonly id: string; readonly version: string }
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
  /** Time in which a connection has to send `connect`. */
  readonly staleTimeoutMs: number
  readonly maxChannels: number
  readonly maxCommandBytes: number
  /** Bytes of frames that the waiting commands may come from: one frame's worth. */
  readonly maxQueuedBytes: number
  /** Publications that a client may read or recover at once. */
  readonly maxHistoryPublications: number
  /** Bytes of one answer, about: fewer than a client may leave unread, so that none is closed for having asked. */
  readonly maxAnswerBytes: number
}

/**
 * `new`: before `connect`. `connecting`: while `connect` is handled. `refused`: after a refused `connect`, which the
 * client may repeat; every other command is ignored. `connected`: after its reply.
 */
export type ConnectState = 'new' | 'connecting' | 'refused' | 'connected'

/** What a pending subscription may do with its connection. */
export interface SubscriptionOwner extends Connection {
  readonly context: ClientSessionContext
  /** Subscriptions, pending ones included. */
  readonly subscriptions: readonly Subscription[]
  /** Bytes that the next answer may have; below 0 where the client has more than that left to read. */
  readonly roomBytes: number
  findSubscription(channel: string): Subscription | undefined
  addSubscription(subscription: Subscription): void
  /** Ends a subscription without telling the client. */
  removeSubscription(subscription: Subscription): void
  /** The client as the channel's subscribers receive it; without a subscription, as a publisher. */
  infoIn(subscription: Subscription | undefined): ClientInfo
  /** To be called when the connection or a subscription may expire earlier than before. */
  rescheduleTimer(): void
}

/** What a command may do with its connection. */
export interface ClientConnection extends SubscriptionOwner {
  readonly state: ConnectState
  /** Marks that `connect` is being handled. */
  beginConnect(): void
  /** Sets who the client is. */
  identify(user: string, connInfo: string | undefined): void
  /** Marks the connection as connected: from now on it is pinged. */
  completeConnect(expiresAtMs: number | undefined): void
  /** Sets when the connection expires, in Unix milliseconds; undefined: never. A time in the past closes it. */
  expireAt(expiresAtMs: number | undefined): void
  /**
   * Subscribes once an application has decided. Rejects with error 103 if the server ended the subscription meanwhile,
   * and with what the decision or `subscribe` rejects with.
   */
  awaitDecision<T>(
    channel: string,
    decided: PromiseLike<T>,
    subscribe: (decision: T) => Promise<void> | undefined,
  ): Promise<void>
  /** Logs an error of an application's hook that no client receives. */
  logHookError(hook: 'message' | 'disconnect', error: unknown): void
}
