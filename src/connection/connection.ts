import type { Close } from '../protocol/closes.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { Socket } from '../transport/transport.js'

/** How a connection's frames are encoded: data as it was published, or JSON pushes of the Centrifuge protocol. */
export type Codec = 'raw' | 'json'

/** Which presence events of a channel a subscriber watches. */
export interface WatchedEvents {
  readonly join: boolean
  readonly leave: boolean
}

/** A subscription that the server makes on behalf of a client. */
export interface ServerSubscription {
  /** One line of JSON, for presence, joins and leaves. */
  readonly info?: string | undefined
  /** One line of JSON that the client receives with the subscription. */
  readonly data?: string | undefined
  /** Unix time in milliseconds; undefined: it does not expire. */
  readonly expiresAtMs?: number | undefined
  /** Position after which missed publications are sent to the client. */
  readonly recoverSince?: StreamPosition | undefined
}

/** A client's connection, whatever protocol it speaks. */
export interface Connection {
  /** Id of the client, which is the connection's own. */
  readonly client: string
  /** Empty for an anonymous user. */
  readonly user: string
  /** The session id in the connect reply of the Centrifuge protocol; raw connections have none. */
  readonly sessionId: string | undefined
  readonly codec: Codec
  /** Undefined once it is closed. */
  readonly socket: Socket | undefined
  isSubscribed(channel: string): boolean
  /** Subscribes it on behalf of the server. Rejects with a ProtocolError. */
  subscribe(channel: string, options: ServerSubscription): Promise<void>
  /** Unsubscribes it on behalf of the server. Returns whether it was subscribed, or subscribing. */
  unsubscribe(channel: string, why: Close): boolean
  /** Sends JSON that belongs to no channel. Returns whether the connection's protocol has such messages. */
  pushMessage(data: string): boolean
  /** Sets when the connection expires, in Unix milliseconds; undefined: never. A time in the past closes it with 3005. */
  refresh(expiresAtMs: number | undefined): void
  close(close: Close): void
  /** Closes it with the code after which a client of its protocol reconnects to another node. */
  shutDown(): void
  /** Publications of a channel that it follows by position are lost: the client has to start over. */
  notifyGap(channel: string): void
}
