import type { Codec, Connection } from '../connection/connection.js'
import type { LabelledValue } from '../metrics/labelled-value.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import type { Socket } from '../transport/transport.js'
import type { PublicationBuffer } from './publication-buffer.js'

/** The subscribers of one codec, and how many of them watch joins and leaves. */
export interface SubscriberCounts {
  subscribers: number
  joinWatchers: number
  leaveWatchers: number
}

/** A caller that waits until the channel has delivered a stream up to a position. */
export interface PositionWaiter {
  readonly target: StreamPosition
  readonly resolve: () => void
}

/** A subscriber that must not receive a publication. */
export interface ExcludedSubscriber {
  readonly codec: Codec
  /** Undefined once it is closed. */
  readonly socket: Socket | undefined
}

/** A publication that raw subscribers receive with a delayed delivery. */
export interface RawFrame {
  readonly data: Uint8Array
  readonly isBinary: boolean
  readonly excluded: ExcludedSubscriber | undefined
}

export interface DelayedDelivery {
  readonly timer: NodeJS.Timeout
  /** By the monotonic clock. */
  readonly dueAtMs: number
}

/** The options of a channel's namespace that delivery depends on. */
export interface ChannelRules {
  /** The namespace's name. */
  readonly namespace: string
  /** How long the metadata of a stream is stored; undefined where the channel keeps no stream. */
  readonly metaTtlMs: number | undefined
  /** The least time between two deliveries; publications in between are delivered together. */
  readonly deliveryDelayMs: number
}

/** A channel with a subscriber on this node, present or to come. */
export interface LocalChannel {
  readonly name: string
  /** Gauge of the subscriptions to channels of its namespace. */
  readonly subscriptionGauge: LabelledValue
  readonly rules: ChannelRules
  readonly raw: SubscriberCounts
  readonly json: SubscriberCounts
  /** Connections that are told of a gap: those with a position. One needs no set, as most channels of one client have. */
  positioned: Connection | Set<Connection> | undefined
  /** Number of `acquire` calls that were not released: subscribers, and connections that are subscribing. */
  refCount: number
  /** Whether the broker delivers the channel's events to this node. */
  isSubscribed: boolean
  /** Number of `acquire` calls that wait for the broker's subscription. */
  pendingSubscribes: number
  lingerTimer: NodeJS.Timeout | undefined
  /** Of the latest publication that was delivered, where the channel keeps a stream. */
  position: StreamPosition | undefined
  /** Buffers of connections that are subscribing and still read history. */
  buffers: Set<PublicationBuffer> | undefined
  /** Publications that arrive while a gap is being repaired; undefined while none is. */
  repairBuffer: PublicationBuffer | undefined
  positionWaiters: Set<PositionWaiter> | undefined
  /** JSON pushes that leave as one frame, at the end of the tick or with a delayed delivery. */
  pushes: string[]
  pushesLength: number
  /** Raw frames of a delayed delivery. */
  frames: RawFrame[]
  framesLength: number
  /** Undefined while no delivery is delayed. */
  delayedDelivery: DelayedDelivery | undefined
  /** Of the latest delivery, by the monotonic clock. */
  deliveredAtMs: number
}

export function createLocalChannel(
  name: string,
  subscriptionGauge: LabelledValue,
  rules: ChannelRules,
): LocalChannel {
  return {
    name,
    subscriptionGauge,
    rules,
    raw: { subscribers: 0, joinWatchers: 0, leaveWatchers: 0 },
    json: { subscribers: 0, joinWatchers: 0, leaveWatchers: 0 },
    positioned: undefined,
    refCount: 0,
    isSubscribed: false,
    pendingSubscribes: 0,
    lingerTimer: undefined,
    position: undefined,
    buffers: undefined,
    repairBuffer: undefined,
    positionWaiters: undefined,
    pushes: [],
    pushesLength: 0,
    frames: [],
    framesLength: 0,
    delayedDelivery: undefined,
    deliveredAtMs: Number.NEGATIVE_INFINITY,
  }
}

export function addPositioned(channel: LocalChannel, connection: Connection): void {
  const { positioned } = channel
  if (positioned === undefined) channel.positioned = connection
  else if (positioned instanceof Set) positioned.add(connection)
  else channel.positioned = new Set([positioned, connection])
}

export function removePositioned(channel: LocalChannel, connection: Connection): void {
  const { positioned } = channel
  if (positioned instanceof Set) positioned.delete(connection)
  else if (positioned === connection) channel.positioned = undefined
}

/** A copy, since a connection that is told of a gap unsubscribes. */
export function positionedConnections({ positioned }: LocalChannel): readonly Connection[] {
  if (positioned === undefined) return []
  return positioned instanceof Set ? [...positioned] : [positioned]
}

export function subscriberCount({ raw, json }: LocalChannel): number {
  return raw.subscribers + json.subscribers
}

/** How a publication relates to the part of the stream that was delivered before it. */
export type Continuity = 'next' | 'old' | 'gap'

/** Compares a publication's position with the latest one delivered. Where either is unknown, the publication is next. */
export function continuityOf(last: StreamPosition | undefined, { position }: Publication): Continuity {
  if (position === undefined || last === undefined) return 'next'
  if (position.epoch !== last.epoch) return 'gap'
  if (position.offset <= last.offset) return 'old'
  return position.offset === last.offset + 1 ? 'next' : 'gap'
}

/** Whether delivery has reached a position, or gone beyond it. */
export function hasReached(last: StreamPosition | undefined, target: StreamPosition): boolean {
  return last !== undefined && last.epoch === target.epoch && last.offset >= target.offset
}

/** Whether delivery is beyond a position of the same epoch. */
export function isAhead(last: StreamPosition | undefined, top: StreamPosition): boolean {
  return last !== undefined && last.epoch === top.epoch && last.offset > top.offset
}
