import type { Broker, BrokerHandler } from '../broker/broker.js'
import type { Connection, WatchedEvents } from '../connection/connection.js'
import type { Connections } from '../connection/connections.js'
import type { Metrics } from '../metrics/metrics.js'
import type { ChannelEvent, PresenceEvent, Publication, StreamPosition } from '../protocol/publication.js'
import { EventLoopLoad } from './event-loop-load.js'
import { type BroadcastToTopic, FanOut, topics } from './fan-out.js'
import { GapDetector } from './gap-detector.js'
import { GapRepair } from './gap-repair.js'
import {
  addPositioned,
  type ChannelRules,
  continuityOf,
  createLocalChannel,
  hasReached,
  isAhead,
  type LocalChannel,
  positionedConnections,
  removePositioned,
  subscriberCount,
} from './local-channel.js'
import { copyOf, PublicationBuffer } from './publication-buffer.js'

/** How long a channel stays subscribed after its last subscriber left: leaving and rejoining costs Redis nothing. */
const LINGER_MS = 1_000
/** A larger lag comes from a wrong clock, or a forged time. */
const MAX_LAG_MS = 3_600_000

export interface HubOptions {
  readonly connections: Connections
  readonly broker: Broker
  readonly broadcastToTopic: BroadcastToTopic
  readonly metrics: Metrics
  /** The options of the channel's namespace that delivery depends on. */
  rulesOf(channel: string): ChannelRules
  /** The least time between two deliveries in a channel while this node is busy; 0: none. */
  readonly busyDeliveryDelayMs: number
  /** Called with an error that no code expects. */
  onDefect(error: unknown): void
}

/**
 * The channels with subscribers on this node: keeps the broker's subscriptions, and delivers the events that the broker
 * relays to the subscribers.
 */
export class Hub implements BrokerHandler {
  private readonly channels = new Map<string, LocalChannel>()
  private readonly fanOut: FanOut
  private readonly gapRepair: GapRepair
  private readonly gapDetector: GapDetector

  constructor(private readonly options: HubOptions) {
    const { broker, broadcastToTopic, metrics } = options
    const onDefect = (error: unknown) => options.onDefect(error)
    const load = new EventLoopLoad(performance.now())
    this.fanOut = new FanOut(broadcastToTopic, metrics, load, options.busyDeliveryDelayMs)
    const handler = {
      isOpen: (channel: LocalChannel) => this.channels.get(channel.name) === channel,
      deliver: (channel: LocalChannel, publication: Publication) =>
        this.deliver(channel, publication, performance.now()),
      notifyGap: (channel: LocalChannel) => this.notifyGap(channel),
    }
    this.gapRepair = new GapRepair(broker, metrics, handler, onDefect)
    this.gapDetector = new GapDetector(() => this.channels.values(), broker, this.gapRepair, onDefect)
  }

  /** Starts looking for gaps in streams to which nothing is published. */
  start(): void {
    this.gapDetector.start()
  }

  stop(): void {
    this.gapDetector.stop()
  }

  resumed(names: readonly string[]): void {
    const channels = names.map((name) => this.channels.get(name))
    this.gapDetector.check(channels.filter((channel) => channel !== undefined))
  }

  /** Number of channels with a subscriber. */
  get channelCount(): number {
    let count = 0
    for (const channel of this.channels.values()) if (subscriberCount(channel) > 0) count++
    return count
  }

  /** Number of this node's subscribers by channel. */
  *channelSizes(): IterableIterator<[string, number]> {
    for (const channel of this.channels.values()) {
      const subscribers = subscriberCount(channel)
      if (subscribers > 0) yield [channel.name, subscribers]
    }
  }

  /**
   * Subscribes this node to a channel, before a connection is added to it. Returns undefined where it is subscribed
   * already; rejects with a BrokerError. Every call, also one that rejects, is undone by one `release`.
   */
  acquire(name: string): Promise<void> | undefined {
    const channel = this.channels.get(name) ?? this.createChannel(name)
    channel.refCount++
    clearTimeout(channel.lingerTimer)
    channel.lingerTimer = undefined
    if (channel.isSubscribed) return undefined
    // The broker merges these subscriptions into one; each caller has a deadline of its own.
    const subscribing = this.options.broker.subscribe(name)
    if (subscribing !== undefined) return this.awaitSubscription(channel, subscribing)
    channel.isSubscribed = true
    return undefined
  }

  release(name: string): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.refCount--
    if (channel.refCount > 0) return
    channel.lingerTimer = setTimeout(() => this.closeChannel(channel), LINGER_MS)
  }

  /**
   * Adds a connection to an acquired channel: it receives what is delivered from now on.
   * @param isPositioned whether it follows the channel's stream, and is told of gaps
   */
  addSubscriber(name: string, connection: Connection, watched: WatchedEvents, isPositioned: boolean): void {
    const channel = this.channels.get(name)
    if (channel === undefined) throw new Error('subscribed to a channel that is not acquired')
    // Publications that were delivered before and still wait must not reach it.
    this.fanOut.flush(channel)
    const { codec, socket } = connection
    const counts = channel[codec]
    counts.subscribers++
    if (isPositioned) addPositioned(channel, connection)
    socket?.subscribe(topics.data(codec, name))
    if (watched.join) {
      counts.joinWatchers++
      socket?.subscribe(topics.join(codec, name))
    }
    if (watched.leave) {
      counts.leaveWatchers++
      socket?.subscribe(topics.leave(codec, name))
    }
    channel.subscriptionGauge.value++
  }

  /** Removes a connection from a channel, and releases the channel. */
  removeSubscriber(name: string, connection: Connection, watched: WatchedEvents): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    // Publications that were delivered before and still wait must reach it.
    if (connection.socket !== undefined) this.fanOut.flush(channel)
    const { codec, socket } = connection
    const counts = channel[codec]
    counts.subscribers--
    removePositioned(channel, connection)
    socket?.unsubscribe(topics.data(codec, name))
    if (watched.join) {
      counts.joinWatchers--
      socket?.unsubscribe(topics.join(codec, name))
    }
    if (watched.leave) {
      counts.leaveWatchers--
      socket?.unsubscribe(topics.leave(codec, name))
    }
    channel.subscriptionGauge.value--
    this.release(name)
  }

  /** Sends what was delivered in a channel and still waits, before a subscriber is closed. */
  flush(name: string): void {
    const channel = this.channels.get(name)
    if (channel !== undefined) this.fanOut.flush(channel)
  }

  /** Buffers the publications of an acquired channel, until `stopBuffering`. */
  startBuffering(name: string): PublicationBuffer {
    const buffer = new PublicationBuffer()
    const channel = this.channels.get(name)
    if (channel === undefined) throw new Error('buffered a channel that is not acquired')
    channel.buffers ??= new Set()
    channel.buffers.add(buffer)
    return buffer
  }

  /** Whether a subscriber that starts at this position of the stream receives all that follows, and nothing twice. */
  canStartAt(name: string, position: StreamPosition): boolean {
    const channel = this.channels.get(name)
    if (channel === undefined) return false
    if (isAhead(channel.position, position)) return false
    return subscriberCount(channel) === 0 || hasReached(channel.position, position)
  }

  /** Resolves when subscribers have received a stream up to this position, or cannot any more. */
  catchUp(name: string, position: StreamPosition): Promise<void> {
    const channel = this.channels.get(name)
    if (channel === undefined || subscriberCount(channel) === 0 || hasReached(channel.position, position)) {
      return Promise.resolve()
    }
    return this.gapRepair.catchUp(channel, position)
  }

  /**
   * Stops buffering.
   * @param position where the subscriber starts, one that `canStartAt` accepts; undefined: it does not subscribe
   */
  stopBuffering(name: string, buffer: PublicationBuffer, position: StreamPosition | undefined): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.buffers?.delete(buffer)
    if (channel.buffers?.size === 0) channel.buffers = undefined
    if (position !== undefined) channel.position = position
  }

  hasPresenceWatchers(name: string, type: PresenceEvent['type']): boolean {
    const channel = this.channels.get(name)
    return channel !== undefined && this.fanOut.hasPresenceWatchers(channel, type)
  }

  receive(name: string, events: readonly ChannelEvent[]): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    if (subscriberCount(channel) === 0 && channel.repairBuffer === undefined) {
      // Without subscribers a gap concerns none; connections that read history compare positions themselves.
      channel.position = undefined
      if (channel.buffers === undefined) return
    }
    const startMs = performance.now()
    let publishedAtMs: number | undefined
    for (const event of events) {
      if (event.type !== 'publication') {
        this.fanOut.broadcastPresence(channel, event)
        continue
      }
      if (!event.isUnknown) publishedAtMs ??= event.publishedAtMs
      if (channel.repairBuffer !== undefined) {
        channel.repairBuffer.add(copyOf(event))
        continue
      }
      const continuity = continuityOf(channel.position, event)
      if (continuity === 'next')
        this.deliver(channel, channel.buffers === undefined ? event : copyOf(event), startMs)
      else if (continuity === 'gap') void this.gapRepair.begin(channel, copyOf(event))
    }
    this.gapRepair.positionChanged(channel)
    if (publishedAtMs !== undefined) this.observeDelivery(channel, startMs, publishedAtMs)
  }

  private observeDelivery(channel: LocalChannel, startMs: number, publishedAtMs: number): void {
    this.options.metrics.fanoutDuration.observe((performance.now() - startMs) / 1_000)
    const waitMs = channel.delayedDelivery === undefined ? 0 : channel.delayedDelivery.dueAtMs - startMs
    // The clocks of two machines may differ by more than the relay takes.
    const lagMs = Math.min(MAX_LAG_MS, Math.max(0, Date.now() - publishedAtMs) + waitMs)
    this.options.metrics.deliveryLag.observe(lagMs / 1_000)
  }

  /**
   * Buffers keep the publication as it is. Publications that are delivered at the same time leave together. One that this
   * node cannot read only takes its place in the stream. Subscribers are not told of a gap: each such publication would
   * end all their subscriptions, and they would be told the same again by the next one.
   */
  private deliver(channel: LocalChannel, publication: Publication, nowMs: number): void {
    // A publication that skipped the history has no position, and changes none.
    if (publication.position !== undefined) channel.position = publication.position
    if (channel.buffers !== undefined) for (const buffer of channel.buffers) buffer.add(publication)
    if (publication.isUnknown) {
      this.options.metrics.relayUnknown.entry.value++
      return
    }
    const { excludedClient } = publication
    const excluded = excludedClient === undefined ? undefined : this.options.connections.find(excludedClient)
    this.fanOut.broadcastPublication(
      channel,
      publication,
      excluded?.isSubscribed(channel.name) ? excluded : undefined,
      nowMs,
    )
  }

  /** Publications are lost: subscribers with a position have to start over. */
  private notifyGap(channel: LocalChannel): void {
    this.fanOut.flush(channel)
    for (const connection of positionedConnections(channel)) connection.notifyGap(channel.name)
  }

  private createChannel(name: string): LocalChannel {
    const rules = this.options.rulesOf(name)
    const channel = createLocalChannel(name, this.options.metrics.subscriptionGauge(rules.namespace), rules)
    this.channels.set(name, channel)
    return channel
  }

  private async awaitSubscription(channel: LocalChannel, subscribing: Promise<void>): Promise<void> {
    channel.pendingSubscribes++
    try {
      await subscribing
      channel.isSubscribed = true
    } finally {
      channel.pendingSubscribes--
    }
  }

  private closeChannel(channel: LocalChannel): void {
    if (channel.pendingSubscribes > 0) {
      channel.lingerTimer = setTimeout(() => this.closeChannel(channel), LINGER_MS)
      return
    }
    this.channels.delete(channel.name)
    if (channel.isSubscribed) this.options.broker.unsubscribe(channel.name)
  }
}
