import type { Broker, BrokerHandler } from '../broker/broker.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Close } from '../protocol/closes.js'
import type { ChannelEvent, PresenceEvent, Publication, StreamPosition } from '../protocol/publication.js'
import type { Socket } from '../transport/transport.js'
import { FanOut, type PublishToTopic, topics } from './fan-out.js'
import { GapRepair } from './gap-repair.js'
import { GapWatch } from './gap-watch.js'
import {
  type ChannelRules,
  type Codec,
  continuityOf,
  createLocalChannel,
  hasReached,
  isAhead,
  type LocalChannel,
  memberCount,
} from './local-channel.js'
import { LoopLoad } from './loop-load.js'
import { copyOf, PublicationBuffer } from './publication-buffer.js'

/** How long a channel stays subscribed after its last member left: leaving and coming back costs Redis nothing. */
const LINGER_MS = 1_000
/** A larger lag is a clock that is wrong, or a forged time. */
const MAX_LAG_MS = 3_600_000

/** A subscription that the server makes on a client's behalf. */
export interface ServerSubscription {
  /** One line of JSON, for presence, joins and leaves. */
  readonly info?: string | undefined
  /** One line of JSON that the client is told with it. */
  readonly data?: string | undefined
  /** Unix time in milliseconds; undefined: it does not expire. */
  readonly expiresAtMs?: number | undefined
  /** After which the client is told what it has missed. */
  readonly recoverSince?: StreamPosition | undefined
}

/** A connection, which may be in channels. */
export interface Member {
  readonly client: string
  /** Empty for somebody without a name. */
  readonly user: string
  /** What a client of the Centrifuge protocol was told as its session; others have none. */
  readonly session: string | undefined
  readonly codec: Codec
  readonly socket: Socket | undefined
  isIn(channel: string): boolean
  /** Subscribes it on behalf of the server; rejects with a ProtocolError. */
  subscribe(channel: string, options: ServerSubscription): Promise<void>
  /** Takes it out of a channel; whether it was in it, or about to be. */
  unsubscribe(channel: string, why: Close): boolean
  /** Sends it JSON that belongs to no channel; whether its protocol has such messages. */
  pushMessage(data: string): boolean
  /** Sets when the connection expires, in Unix milliseconds; undefined: never. In the past: closes it with 3005. */
  refresh(expiresAtMs: number | undefined): void
  close(close: Close): void
  /** Ends with code 1001, or whatever its protocol says to somebody who shall come back elsewhere. */
  shutDown(): void
  /** Publications of a channel were missed. */
  missed(channel: string): void
}

/** Which of a channel's events a member wants beside publications. */
export interface Wishes {
  readonly join: boolean
  readonly leave: boolean
}

export interface HubOptions {
  /** What the namespace of a channel says. */
  rulesOf(channel: string): ChannelRules
  /** The least time between two deliveries in a channel while this node is busy; 0: none. */
  readonly busyDeliveryDelayMs: number
  /** Told of defects. */
  failed(error: unknown): void
}

/** This node's connections and the channels they are in: asks the broker for what they want, and hands it out to them. */
export class Hub implements BrokerHandler {
  private readonly members = new Map<string, Member>()
  private readonly channels = new Map<string, LocalChannel>()
  private readonly fanOut: FanOut
  private readonly gapRepair: GapRepair
  private readonly gapWatch: GapWatch

  constructor(
    private readonly broker: Broker,
    publishToTopic: PublishToTopic,
    private readonly metrics: Metrics,
    private readonly options: HubOptions,
  ) {
    const failed = (error: unknown) => options.failed(error)
    const load = new LoopLoad(performance.now())
    this.fanOut = new FanOut(publishToTopic, metrics, load, options.busyDeliveryDelayMs)
    const deliveries = {
      isLive: (channel: LocalChannel) => this.channels.get(channel.name) === channel,
      hand: (channel: LocalChannel, publication: Publication) =>
        this.hand(channel, publication, performance.now()),
      missed: (channel: LocalChannel) => this.tellMissed(channel),
    }
    this.gapRepair = new GapRepair(broker, metrics, deliveries, failed)
    this.gapWatch = new GapWatch(() => this.channels.values(), broker, this.gapRepair, failed)
  }

  /** Begins to look after streams that nothing is said in. */
  start(): void {
    this.gapWatch.start()
  }

  stop(): void {
    this.gapWatch.stop()
  }

  resumed(): void {
    this.gapWatch.checkAll()
  }

  /** Connections now. */
  get connectionCount(): number {
    return this.members.size
  }

  /** Channels with a member now. */
  get channelCount(): number {
    let count = 0
    for (const channel of this.channels.values()) if (memberCount(channel) > 0) count++
    return count
  }

  connections(): IterableIterator<Member> {
    return this.members.values()
  }

  /** Number of this node's clients by channel. */
  *channelSizes(): IterableIterator<[string, number]> {
    for (const channel of this.channels.values()) {
      const members = memberCount(channel)
      if (members > 0) yield [channel.name, members]
    }
  }

  add(member: Member): void {
    this.members.set(member.client, member)
  }

  remove(member: Member): void {
    this.members.delete(member.client)
  }

  /**
   * Makes sure that this node hears a channel, before somebody joins it. Returns nothing when it does already; rejects
   * with a BrokerError. Every call, failed ones too, is undone by one `release`.
   */
  hold(name: string): Promise<void> | undefined {
    const channel = this.channels.get(name) ?? this.create(name)
    channel.holds++
    clearTimeout(channel.lingerTimer)
    channel.lingerTimer = undefined
    if (channel.isSubscribed) return undefined
    // The broker makes one subscription of many; whoever waits has a deadline of its own.
    const subscribing = this.broker.subscribe(name)
    if (subscribing !== undefined) return this.subscribed(channel, subscribing)
    channel.isSubscribed = true
    return undefined
  }

  release(name: string): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.holds--
    if (channel.holds > 0) return
    channel.lingerTimer = setTimeout(() => this.forget(channel), LINGER_MS)
  }

  /** Puts a member into a channel that is held for it: from now on it hears what is delivered. */
  join(name: string, member: Member, wishes: Wishes): void {
    const channel = this.channels.get(name)
    if (channel === undefined) throw new Error('joined a channel that is not held')
    // What was delivered before, it must not hear.
    this.fanOut.flush(channel)
    const { codec, socket } = member
    const audience = channel[codec]
    audience.members++
    socket?.join(topics.data(codec, name))
    if (wishes.join) {
      audience.joinWatchers++
      socket?.join(topics.join(codec, name))
    }
    if (wishes.leave) {
      audience.leaveWatchers++
      socket?.join(topics.leave(codec, name))
    }
    channel.subscriptions.value++
  }

  /** Takes a member out of a channel, and releases it. */
  leave(name: string, member: Member, wishes: Wishes): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    // What was delivered before, it must still hear, if it can.
    if (member.socket !== undefined) this.fanOut.flush(channel)
    const { codec, socket } = member
    const audience = channel[codec]
    audience.members--
    socket?.leave(topics.data(codec, name))
    if (wishes.join) {
      audience.joinWatchers--
      socket?.leave(topics.join(codec, name))
    }
    if (wishes.leave) {
      audience.leaveWatchers--
      socket?.leave(topics.leave(codec, name))
    }
    channel.subscriptions.value--
    this.release(name)
  }

  /** Sends what was delivered in a channel and has not left yet: whoever is about to be closed must still hear it. */
  flush(name: string): void {
    const channel = this.channels.get(name)
    if (channel !== undefined) this.fanOut.flush(channel)
  }

  /** Keeps what is said in a channel that is held, until it is unbuffered. */
  buffer(name: string): PublicationBuffer {
    const buffer = new PublicationBuffer()
    const channel = this.channels.get(name)
    if (channel === undefined) throw new Error('buffered a channel that is not held')
    channel.buffers ??= new Set()
    channel.buffers.add(buffer)
    return buffer
  }

  /** Whether somebody who begins at this position of the stream hears all that follows, and nothing twice. */
  canBeginAt(name: string, position: StreamPosition): boolean {
    const channel = this.channels.get(name)
    if (channel === undefined) return false
    if (isAhead(channel.position, position)) return false
    return memberCount(channel) === 0 || hasReached(channel.position, position)
  }

  /** Resolves when members have heard a stream up to this position, or can't any more. */
  catchUp(name: string, position: StreamPosition): Promise<void> {
    const channel = this.channels.get(name)
    if (channel === undefined || memberCount(channel) === 0 || hasReached(channel.position, position)) {
      return Promise.resolve()
    }
    return this.gapRepair.catchUp(channel, position)
  }

  /** Ends keeping; the position of whoever goes on from there, if somebody does: one at which it can begin. */
  unbuffer(name: string, buffer: PublicationBuffer, position: StreamPosition | undefined): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.buffers?.delete(buffer)
    if (channel.buffers?.size === 0) channel.buffers = undefined
    if (position !== undefined) channel.position = position
  }

  hasPresenceWatchers(name: string, type: PresenceEvent['type']): boolean {
    const channel = this.channels.get(name)
    return channel !== undefined && this.fanOut.hears(channel, type)
  }

  receive(name: string, events: readonly ChannelEvent[]): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    if (memberCount(channel) === 0 && channel.held === undefined) {
      // Nobody hears a gap; whoever reads history looks for itself.
      channel.position = undefined
      if (channel.buffers === undefined) return
    }
    const startMs = performance.now()
    let publishedAtMs: number | undefined
    for (const event of events) {
      if (event.type !== 'publication') {
        this.fanOut.presence(channel, event)
        continue
      }
      publishedAtMs ??= event.publishedAtMs
      if (channel.held !== undefined) {
        channel.held.add(copyOf(event))
        continue
      }
      const continuity = continuityOf(channel.position, event)
      if (continuity === 'next')
        this.hand(channel, channel.buffers === undefined ? event : copyOf(event), startMs)
      else if (continuity === 'gap') this.gapRepair.begin(channel, copyOf(event))
    }
    this.gapRepair.advanced(channel)
    if (publishedAtMs === undefined) return
    this.metrics.fanoutDuration.observe((performance.now() - startMs) / 1_000)
    const waitMs = channel.delayed === undefined ? 0 : channel.delayed.dueAtMs - startMs
    // The clocks of two machines may differ by more than the relay takes.
    const lagMs = Math.min(MAX_LAG_MS, Math.max(0, Date.now() - publishedAtMs) + waitMs)
    this.metrics.deliveryLag.observe(lagMs / 1_000)
  }

  /** Buffers keep it as it is. What is handed at the same time leaves together. */
  private hand(channel: LocalChannel, publication: Publication, nowMs: number): void {
    // One that was published past the history has no position, and changes none.
    if (publication.position !== undefined) channel.position = publication.position
    if (channel.buffers !== undefined) for (const buffer of channel.buffers) buffer.add(publication)
    const { excludedClient } = publication
    const excluded = excludedClient === undefined ? undefined : this.members.get(excludedClient)
    this.fanOut.publication(channel, publication, excluded?.isIn(channel.name) ? excluded : undefined, nowMs)
  }

  /** Publications are lost for good: who follows the stream has to begin anew. */
  private tellMissed(channel: LocalChannel): void {
    this.fanOut.flush(channel)
    for (const member of this.members.values()) if (member.isIn(channel.name)) member.missed(channel.name)
  }

  private create(name: string): LocalChannel {
    const rules = this.options.rulesOf(name)
    const channel = createLocalChannel(name, this.metrics.subscriptions(rules.namespace), rules)
    this.channels.set(name, channel)
    return channel
  }

  private async subscribed(channel: LocalChannel, subscribing: Promise<void>): Promise<void> {
    channel.subscribing++
    try {
      await subscribing
      channel.isSubscribed = true
    } finally {
      channel.subscribing--
    }
  }

  private forget(channel: LocalChannel): void {
    if (channel.subscribing > 0) {
      channel.lingerTimer = setTimeout(() => this.forget(channel), LINGER_MS)
      return
    }
    this.channels.delete(channel.name)
    if (channel.isSubscribed) this.broker.unsubscribe(channel.name)
  }
}
