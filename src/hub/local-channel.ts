import type { Tally } from '../metrics/tally.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import type { DelayedDelivery, RawFrame } from './fan-out.js'
import type { PublicationBuffer } from './publication-buffer.js'

/** How a member is spoken to: frames as they are, or JSON pushes of the Centrifuge protocol. */
export type Codec = 'raw' | 'json'

/** Members of one codec, and how many of them want to know who comes and goes. */
export interface Audience {
  members: number
  joinWatchers: number
  leaveWatchers: number
}

/** Somebody who waits until the channel has been delivered up to a position. */
export interface Awaited {
  readonly target: StreamPosition
  readonly reached: () => void
}

/** What a channel's namespace says about delivering in it. */
export interface ChannelRules {
  /** The namespace's name. */
  readonly namespace: string
  /** How long the metadata of a stream is kept; undefined where the channel keeps no stream. */
  readonly metaTtlMs: number | undefined
  /** The least time between two deliveries; what is said in between leaves together. */
  readonly deliveryDelayMs: number
}

/** A channel that somebody on this node is in, or is about to be. */
export interface LocalChannel {
  readonly name: string
  /** Subscriptions to channels of its namespace. */
  readonly subscriptions: Tally
  readonly rules: ChannelRules
  readonly raw: Audience
  readonly json: Audience
  /** Members, and those who wait for the subscription. */
  holds: number
  isSubscribed: boolean
  /** Who waits for the subscription. */
  subscribing: number
  lingerTimer: NodeJS.Timeout | undefined
  /** Of the latest publication that was delivered, where the channel keeps a stream. */
  position: StreamPosition | undefined
  /** Subscribers that are still reading history. */
  buffers: Set<PublicationBuffer> | undefined
  /** What comes while a gap is being repaired; undefined while none is. */
  held: PublicationBuffer | undefined
  awaited: Set<Awaited> | undefined
  /** JSON pushes that leave as one frame, at the end of the tick or with a delayed delivery. */
  pushes: string[]
  pushesLength: number
  /** Raw frames of a delayed delivery. */
  frames: RawFrame[]
  framesLength: number
  /** Undefined while nothing has to wait. */
  delayed: DelayedDelivery | undefined
  /** Of the latest delivery, by the monotonic clock. */
  deliveredAtMs: number
}

export function createLocalChannel(name: string, subscriptions: Tally, rules: ChannelRules): LocalChannel {
  return {
    name,
    subscriptions,
    rules,
    raw: { members: 0, joinWatchers: 0, leaveWatchers: 0 },
    json: { members: 0, joinWatchers: 0, leaveWatchers: 0 },
    holds: 0,
    isSubscribed: false,
    subscribing: 0,
    lingerTimer: undefined,
    position: undefined,
    buffers: undefined,
    held: undefined,
    awaited: undefined,
    pushes: [],
    pushesLength: 0,
    frames: [],
    framesLength: 0,
    delayed: undefined,
    deliveredAtMs: Number.NEGATIVE_INFINITY,
  }
}

export function memberCount({ raw, json }: LocalChannel): number {
  return raw.members + json.members
}

/** What a publication's place says about the stream that was delivered until now. */
export type Continuity = 'next' | 'old' | 'gap'

/** Compares a publication's position with the latest one delivered. Anything may follow where nothing is known. */
export function continuityOf(last: StreamPosition | undefined, { position }: Publication): Continuity {
  if (position === undefined || last === undefined) return 'next'
  if (position.epoch !== last.epoch) return 'gap'
  if (position.offset <= last.offset) return 'old'
  return position.offset === last.offset + 1 ? 'next' : 'gap'
}

/** Whether what was delivered goes up to a position at least. */
export function hasReached(last: StreamPosition | undefined, target: StreamPosition): boolean {
  return last !== undefined && last.epoch === target.epoch && last.offset >= target.offset
}

/** Whether what was delivered is past a position of the same epoch. */
export function isAhead(last: StreamPosition | undefined, top: StreamPosition): boolean {
  return last !== undefined && last.epoch === top.epoch && last.offset > top.offset
}
