import type { ChannelEvent, PresenceEvent, Publication, StreamPosition } from '../protocol/publication.js'

/** A part of a channel's stream. */
export interface History {
  /** Those that this node cannot read are among them, so that no offset is missing. */
  readonly publications: readonly Publication[]
  /** Position of the top of the stream when it was read. */
  readonly position: StreamPosition
}

/** Bounds of a channel's stream. */
export interface StreamOptions {
  /** Number of publications that are stored; the oldest are deleted. */
  readonly size: number
  /** Time after the latest publish at which the publications are deleted. */
  readonly ttlMs: number
  /** Time after the latest use at which epoch and top offset are deleted; the next use begins a new epoch. */
  readonly metaTtlMs: number
}

export interface PublishOptions {
  /** Bounds of the stream that stores the event. Undefined: none, so that it gets no position. Only for publications. */
  readonly stream: StreamOptions | undefined
  /** An event whose key was used in the channel within IDEMPOTENCY_MS is not published again; the first result stands. */
  readonly idempotencyKey: string | undefined
}

/** Time for which an event with the same idempotency key counts as the same. */
export const IDEMPOTENCY_MS = 5 * 60_000

export interface HistoryQuery {
  /** The most publications to return, a whole number. 0: only the position. */
  readonly limit: number
  /**
   * Returns publications after this offset, or before it if `isReverse`. Undefined: from the start, or from the end. The
   * caller has to compare the epoch.
   */
  readonly sinceOffset: number | undefined
  /** Whether the newest come first. */
  readonly isReverse: boolean
  /** About the most bytes of data to return; one publication is returned however large. Undefined: no bound. */
  readonly maxBytes?: number
  /** Time after this use at which epoch and top offset are deleted, as in StreamOptions. */
  readonly metaTtlMs: number
}

export interface PositionQuery {
  readonly channel: string
  /** Time after this use at which epoch and top offset are deleted, as in StreamOptions. */
  readonly metaTtlMs: number
}

/** The position of a stream; `none` where there is no stream, or another one is to begin. */
export type KnownPosition = StreamPosition | 'none'

/** Receives the events of a node's channels: those of one channel in the same order as every other node. */
export interface BrokerHandler {
  /** Whether a subscriber of this node watches the channel's joins or leaves. If none does, the broker may drop them. */
  hasPresenceWatchers(channel: string, type: PresenceEvent['type']): boolean
  /** Receives events of a channel, in order. Their buffers are valid until the call returns. */
  receive(channel: string, events: readonly ChannelEvent[]): void
  /**
   * Called with channels that are subscribed again after an interruption, which may have lost events of any of them. Some
   * may not have been subscribed before.
   */
  resumed(channels: readonly string[]): void
}

/**
 * Carries events between nodes.
 *
 * Guarantees: every node that is subscribed to a channel, the publishing one included, receives each event at most once,
 * and all receive them in the same order. Events of one publisher keep their order.
 *
 * In a stream the offsets of an epoch are 1, 2, 3 and so on, and none is assigned twice: a new epoch begins whenever it
 * cannot be known which ones were assigned.
 */
export interface Broker {
  /** Sets the handler that receives events. Called once, before any other method. */
  start(handler: BrokerHandler): void
  /**
   * Subscribes this node to a channel. Resolves when events that are published from then on will be received; returns
   * undefined if they will already. Rejects with a BrokerError within 2 s otherwise.
   */
  subscribe(channel: string): Promise<void> | undefined
  unsubscribe(channel: string): void
  /**
   * Publishes an event, which it copies before it returns. Resolves when the relay has accepted the event, with its
   * position if a stream stores it: it is both stored and relayed, or neither. Rejects with a BrokerError within 2 s
   * otherwise, when the event may or may not have been relayed.
   */
  publish(channel: string, event: ChannelEvent, options?: PublishOptions): Promise<StreamPosition | undefined>
  /**
   * Resolves with publications of the channel's stream and its position, both of the same moment. A channel without a
   * stream gets one, so that a new subscriber can recover from its position later; until a publication is stored, the
   * stream lasts an hour at most after its latest use. Rejects with a BrokerError within 2 s.
   */
  history(channel: string, query: HistoryQuery): Promise<History>
  /**
   * Resolves with the position of each channel's stream; `unavailable` where it could not be read within 2 s. Begins no
   * stream, and costs far less than as many calls of `history`. Never rejects.
   */
  positions(queries: readonly PositionQuery[]): Promise<readonly (KnownPosition | 'unavailable')[]>
  /** Deletes the stream's publications; epoch and top offset stay. Rejects with a BrokerError within 2 s. */
  removeHistory(channel: string): Promise<void>
}
