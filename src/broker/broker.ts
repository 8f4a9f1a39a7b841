import type { ClientInfo } from '../protocol/client-info.js'

/** A place in a channel's stream. */
export interface Position {
  /** Names the stream: offsets of different epochs can't be compared. */
  readonly epoch: string
  /** Of the latest publication before or at it; 0 where there was none. */
  readonly offset: number
}

/** Something said in a channel, byte for byte as it came. */
export interface Publication {
  readonly type: 'publication'
  readonly data: Uint8Array
  /** Whether raw clients get it in a binary frame. */
  readonly isBinary: boolean
  /** Whether the data is known to be one line of JSON. */
  readonly isJson: boolean
  /** Who published it, where that is told. */
  readonly info: ClientInfo | undefined
  readonly tags: Readonly<Record<string, string>> | undefined
  /** Its place in the channel's stream, once the broker has given it one. */
  readonly position: Position | undefined
  /** The client that must not get it, on whichever node it is. */
  readonly excludedClient: string | undefined
  /** Unix time in milliseconds, by the publishing node's clock. */
  readonly publishedAtMs: number
}

/** A part of a channel's stream. */
export interface History {
  readonly publications: readonly Publication[]
  /** The top of the stream when it was read. */
  readonly position: Position
}

/** Somebody joined or left a channel. */
export interface PresenceEvent {
  readonly type: 'join' | 'leave'
  readonly info: ClientInfo
  /** Clients in the channel after it; undefined where presence is not kept. */
  readonly online: number | undefined
}

export type ChannelEvent = Publication | PresenceEvent

/** How a channel's stream is kept. */
export interface StreamOptions {
  /** Publications that are kept: the last so many. */
  readonly size: number
  /** After the last publish the kept ones are gone. */
  readonly ttlMs: number
  /** After the last use the epoch and the top offset are forgotten; the next use begins a new epoch. */
  readonly metaTtlMs: number
}

export interface PublishOptions {
  /** Undefined: no history is kept of it, and it gets no position. Only publications may have one. */
  readonly stream: StreamOptions | undefined
  /** An event with a key that was used in this channel within 5 minutes is not published again; its first result is given. */
  readonly idempotencyKey: string | undefined
}

/** How long a publication with the same key is taken for the same. */
export const IDEMPOTENCY_MS = 5 * 60_000

export interface HistoryQuery {
  /** The most publications to give, a whole number; 0: only the position. */
  readonly limit: number
  /** After this offset (before it, if reverse); undefined: from the start (or the end). The epoch is the caller's to compare. */
  readonly sinceOffset: number | undefined
  /** The newest first. */
  readonly isReverse: boolean
  /** About the most bytes to give, of what is kept; one publication is given however large. Undefined: no bound. */
  readonly maxBytes?: number
  readonly metaTtlMs: number
}

export interface History {
  readonly publications: readonly Publication[]
  /** Of the top of the stream. */
  readonly position: Position
}

/** Receives what is said in the channels that a node subscribed to: one channel's events in the order that all nodes see. */
export interface BrokerHandler {
  /** Whether anybody wants a channel's joins or leaves; others need not be delivered. */
  hears(channel: string, type: PresenceEvent['type']): boolean
  /** Buffers live until the call returns. */
  deliver(channel: string, events: readonly ChannelEvent[]): void
  /** Everything is subscribed again after a while in which it was not: of any channel something may be missing. */
  resumed(): void
}

export type BrokerFailure = 'unavailable' | 'timeout' | 'overloaded'

/** The relay did not take it. The message is one line for whoever published or subscribed. */
export class BrokerError extends Error {
  constructor(
    readonly reason: BrokerFailure,
    message: string,
  ) {
    super(message)
  }
}

/**
 * Carries events between nodes.
 *
 * Guarantees: every node subscribed to a channel, the publishing one included, is handed each event at most once, and
 * all are handed them in one order. Events of one publisher keep their order.
 *
 * In a stream the offsets of an epoch are 1, 2, 3 and so on, and none is given twice: whenever it can't be known which
 * ones have been, a new epoch begins.
 */
export interface Broker {
  /** Once, before anything else. */
  start(handler: BrokerHandler): void
  /** Resolves once events published from then on will be delivered, nothing if they are at once; rejects with a BrokerError within 2 s otherwise. */
  subscribe(channel: string): Promise<void> | undefined
  unsubscribe(channel: string): void
  /**
   * Copies what it keeps before it returns. Resolves when the relay has taken the event, with its position if it is in
   * a stream: it is kept there and delivered, or neither. Rejects with a BrokerError within 2 s otherwise, when it may
   * or may not have been delivered.
   */
  publish(channel: string, event: ChannelEvent, options?: PublishOptions): Promise<Position | undefined>
  /**
   * What the channel's stream keeps, and its position, both of one moment. A channel without a stream gets one, so that
   * who comes now can ask for what it misses later; until something is published it is remembered for an hour at most
   * after its last use. Rejects with a BrokerError within 2 s.
   */
  history(channel: string, query: HistoryQuery): Promise<History>
  /** Forgets the kept publications; the epoch and the top offset stay. Rejects with a BrokerError within 2 s. */
  removeHistory(channel: string): Promise<void>
}
