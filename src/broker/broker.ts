import type { ChannelEvent, PresenceEvent, Publication, StreamPosition } from '../protocol/publication.js'

/** A part of a channel's stream. */
export interface History {
  readonly publications: readonly Publication[]
  /** Position of the top of the stream when it was read. */
  readonly position: StreamPosition
}

/** How a channel's stream is kept. */
export interface StreamOptions {
  /** Number of publications that are kept: the latest. */
  readonly size: number
  /** Time after the latest publish at which the publications are deleted. */
  readonly ttlMs: number
  /** Time after the latest use at which epoch and top offset are deleted; the next use begins a new epoch. */
  readonly metaTtlMs: number
}

export interface PublishOptions {
  /** Undefined: no stream keeps the event, and it gets no position. Only publications may have a stream. */
  readonly stream: StreamOptions | undefined
  /** An event with a key that was used in this channel within 5 minutes is not published again; its first result is returned. */
  readonly idempotencyKey: string | undefined
}

/** How long a publication with the same idempotency key counts as the same. */
export const IDEMPOTENCY_MS = 5 * 60_000

export interface HistoryQuery {
  /** The most publications to return, a whole number; 0: only the position. */
  readonly limit: number
  /** After this offset (before it, if reverse); undefined: from the start (or the end). The caller compares the epoch. */
  readonly sinceOffset: number | undefined
  /** The newest first. */
  readonly isReverse: boolean
  /** The most bytes of kept data to return, about; one publication is returned however large. Undefined: no bound. */
  readonly maxBytes?: number
  readonly metaTtlMs: number
}

/** Receives the events of the channels that a node subscribed to: those of one channel in the order that all nodes see. */
export interface BrokerHandler {
  /** Whether a subscriber watches a channel's joins or leaves; the broker may drop others. */
  hasPresenceWatchers(channel: string, type: PresenceEvent['type']): boolean
  /** Buffers are valid until the call returns. */
  receive(channel: string, events: readonly ChannelEvent[]): void
  /** All channels are subscribed again after an interruption, in which events of any channel may have been lost. */
  resumed(): void
}

/**
 * Carries events between nodes.
 *
 * Guarantees: every node subscribed to a channel, the publishing one included, receives each event at most once, and all
 * receive them in one order. Events of one publisher keep their order.
 *
 * In a stream the offsets of an epoch are 1, 2, 3 and so on, and none is given twice: whenever it cannot be known which
 * ones were given, a new epoch begins.
 */
export interface Broker {
  /** Called once, before anything else. */
  start(handler: BrokerHandler): void
  /**
   * Resolves once events published from then on will be received; returns undefined if that is so already. Rejects with
   * a BrokerError within 2 s otherwise.
   */
  subscribe(channel: string): Promise<void> | undefined
  unsubscribe(channel: string): void
  /**
   * Copies the event before it returns. Resolves when the relay has taken it, with its position if a stream keeps it: it
   * is both kept and relayed, or neither. Rejects with a BrokerError within 2 s otherwise, when the event may or may not
   * have been relayed.
   */
  publish(channel: string, event: ChannelEvent, options?: PublishOptions): Promise<StreamPosition | undefined>
  /**
   * Resolves with the publications that the channel's stream keeps, and its position, both of one moment. A channel
   * without a stream gets one, so that a new subscriber can later ask for what it missed; until a publication is kept it
   * lasts an hour at most after its latest use. Rejects with a BrokerError within 2 s.
   */
  history(channel: string, query: HistoryQuery): Promise<History>
  /** Deletes the kept publications; epoch and top offset stay. Rejects with a BrokerError within 2 s. */
  removeHistory(channel: string): Promise<void>
}
