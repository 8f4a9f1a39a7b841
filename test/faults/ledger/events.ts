/** A place in a stream: offsets of different epochs cannot be compared. */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

/** A publication as a subscriber received it, by the id that its publisher wrote into it. */
export interface Delivered {
  readonly offset: number
  readonly id: string
}

/** What happened to a client or a publisher, in the order in which it was seen. `atMs` is of one monotonic clock. */
export type LedgerEvent =
  /** A publisher begins to send. Its numbers rise within a channel. */
  | {
      readonly type: 'sent'
      readonly atMs: number
      readonly id: string
      readonly channel: string
      readonly publisher: string
      readonly number: number
    }
  /** The publisher was told that the publication is in the channel, and perhaps where. */
  | { readonly type: 'acknowledged'; readonly id: string; readonly position?: Position }
  /** The publisher was told that it is not there, or does not know. */
  | { readonly type: 'refused'; readonly id: string }
  /** The publisher sends the same publication again, with its idempotency key. */
  | { readonly type: 'repeated'; readonly id: string }
  /** The answer to a `subscribe`; `from` is the position that the client asked to recover from. */
  | {
      readonly type: 'subscribed'
      readonly atMs: number
      readonly subscriber: string
      readonly channel: string
      readonly position: Position
      readonly from?: Position
      readonly recovered: boolean
      readonly publications: readonly Delivered[]
    }
  /** A push of a publication that has an offset. */
  | {
      readonly type: 'delivered'
      readonly atMs: number
      readonly subscriber: string
      readonly channel: string
      readonly offset: number
      readonly id: string
    }
  /** A publication without an offset: of a channel without history, or to a raw client. */
  | {
      readonly type: 'heard'
      readonly atMs: number
      readonly subscriber: string
      readonly channel: string
      readonly id: string
    }
  /** The connection of a subscriber has ended. */
  | { readonly type: 'disconnected'; readonly atMs: number; readonly subscriber: string }
  /** The answer to an `unsubscribe`. */
  | {
      readonly type: 'unsubscribed'
      readonly atMs: number
      readonly subscriber: string
      readonly channel: string
    }
  /** The server has ended a subscription. */
  | {
      readonly type: 'ended'
      readonly atMs: number
      readonly subscriber: string
      readonly channel: string
      readonly code: number
      readonly node: string
    }
  /** All that a channel keeps, read when everything was over. */
  | {
      readonly type: 'history'
      readonly channel: string
      readonly position: Position
      readonly publications: readonly Delivered[]
    }
  /** What a node that lived through the run has counted. */
  | { readonly type: 'counted'; readonly node: string; readonly unrepairedGaps: number }

/** What a fault permits: whether epochs go on, and what becomes of what Redis had acknowledged. */
export interface Permissions {
  /** `kept`: whoever asks to recover is recoverable. `ended`: a new epoch begins, in which nobody is. */
  readonly epochs: 'kept' | 'ended' | 'either'
  /** `kept`: every acknowledged publication. `lost`: those of ended epochs may be gone. `evicted`: any may be gone. */
  readonly history: 'kept' | 'lost' | 'evicted'
  /** Whether clients may miss more than can be recovered at once. */
  readonly isRecoveryBounded?: boolean
}

/** The properties that a ledger checks. */
export const PROPERTIES = {
  P1: 'every acknowledged publication reaches every subscriber, or that subscriber is told',
  P2: 'no subscriber receives a publication twice',
  P3: 'the offsets that a subscriber receives increase within an epoch',
  P4: 'a position has one publication, for all clients',
  P5: 'after `recovered: true` nothing is missing',
  P6: 'who can be recovered is recovered',
  P7: 'a client receives nothing of a channel that it may not subscribe to',
  P8: 'a client receives nothing of a channel that it is not subscribed to',
  P9: 'every acknowledged publication is in the history',
  P10: 'the gaps that nodes count are those that subscribers were told',
} as const

export type Property = keyof typeof PROPERTIES

/** A property that did not hold, with what it takes to find out why. */
export interface Violation {
  readonly property: Property
  readonly channel: string
  readonly text: string
  /** What the subscriber went through in the channel. */
  readonly trail: readonly string[]
}
