import type {
  Broker,
  BrokerHandler,
  ChannelEvent,
  Position,
  PresenceEvent,
  Publication,
} from '../broker/broker.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Close } from '../protocol/closes.js'
import type { Socket } from '../transport/transport.js'

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
  readonly recoverSince?: Position | undefined
}

/** A connection, which may be in channels. */
export interface Member {
  readonly client: string
  /** Empty for somebody without a name. */
  readonly user: string
  /** What a client of the Centrifuge protocol was told as its session; others have none. */
  readonly session: string | undefined
  readonly socket: Socket | undefined
  isIn(channel: string): boolean
  /** Subscribes it on behalf of the server; rejects with a ProtocolError. */
  subscribe(channel: string, options: ServerSubscription): Promise<void>
  /** Takes it out of a channel that it is in. */
  unsubscribe(channel: string, why: Close): void
  /** Sets when the connection expires, in Unix milliseconds; undefined: never. In the past: closes it with 3005. */
  refresh(expiresAtMs: number | undefined): void
  close(close: Close): void
}

/** Which of a channel's events a member wants beside publications. */
export interface Wishes {
  readonly join: boolean
  readonly leave: boolean
}

/** Sends a frame to everybody in a topic; the transport's. */
export type PublishToTopic = (topic: string, data: Uint8Array | string, isBinary: boolean) => void

/** A channel that somebody on this node is in, or is about to be. */
interface LocalChannel {
  readonly name: string
  members: number
  joinWatchers: number
  leaveWatchers: number
  /** Members, and handshakes that wait for the subscription. */
  holds: number
  isSubscribed: boolean
  subscribing: Promise<void> | undefined
  lingerTimer: NodeJS.Timeout | undefined
}

const topics = {
  data: (channel: string) => `data:${channel}`,
  join: (channel: string) => `join:${channel}`,
  leave: (channel: string) => `leave:${channel}`,
}

/** This node's connections and the channels they are in: asks the broker for what they want, and hands it out to them. */
export class Hub implements BrokerHandler {
  private readonly members = new Map<string, Member>()
  private readonly channels = new Map<string, LocalChannel>()

  constructor(
    private readonly broker: Broker,
    private readonly publishToTopic: PublishToTopic,
    private readonly metrics: Metrics,
  ) {}

  /** Connections now. */
  get connectionCount(): number {
    return this.members.size
  }

  /** Channels with a member now. */
  get channelCount(): number {
    let count = 0
    for (const { members } of this.channels.values()) if (members > 0) count++
    return count
  }

  connections(): IterableIterator<Member> {
    return this.members.values()
  }

  /** Number of this node's clients by channel. */
  *channelSizes(): IterableIterator<[string, number]> {
    for (const { name, members } of this.channels.values()) if (members > 0) yield [name, members]
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
    channel.subscribing ??= this.subscribe(channel)
    return channel.subscribing
  }

  release(name: string): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.holds--
    if (channel.holds > 0) return
    channel.lingerTimer = setTimeout(() => this.forget(channel), LINGER_MS)
  }

  /** Puts a member into a channel that is held for it. */
  join(name: string, member: Member, wishes: Wishes): void {
    const channel = this.channels.get(name)
    if (channel === undefined) throw new Error('joined a channel that is not held')
    channel.members++
    member.socket?.join(topics.data(name))
    if (wishes.join) {
      channel.joinWatchers++
      member.socket?.join(topics.join(name))
    }
    if (wishes.leave) {
      channel.leaveWatchers++
      member.socket?.join(topics.leave(name))
    }
    this.metrics.subscriptions.inc({ namespace: '' })
  }

  /** Takes a member whose socket is gone out of a channel, and releases it. */
  leave(name: string, wishes: Wishes): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.members--
    if (wishes.join) channel.joinWatchers--
    if (wishes.leave) channel.leaveWatchers--
    this.metrics.subscriptions.dec({ namespace: '' })
    this.release(name)
  }

  deliver(name: string, events: readonly ChannelEvent[]): void {
    const channel = this.channels.get(name)
    if (channel === undefined || channel.members === 0) return
    const startMs = performance.now()
    let publishedAtMs: number | undefined
    for (const event of events) {
      if (event.type !== 'publication') {
        this.deliverPresence(channel, event)
        continue
      }
      publishedAtMs ??= event.publishedAtMs
      this.deliverPublication(channel, event)
    }
    if (publishedAtMs === undefined) return
    this.metrics.fanoutDuration.observe((performance.now() - startMs) / 1_000)
    // The clocks of two machines may differ by more than the relay takes.
    const lagMs = Math.min(MAX_LAG_MS, Math.max(0, Date.now() - publishedAtMs))
    this.metrics.deliveryLag.observe(lagMs / 1_000)
  }

  private deliverPublication(channel: LocalChannel, { data, isBinary, excludedClient }: Publication): void {
    const excluded = excludedClient === undefined ? undefined : this.members.get(excludedClient)
    const topic = topics.data(channel.name)
    let receivers = channel.members
    if (excluded?.isIn(channel.name) === true) {
      receivers--
      excluded.socket?.publish(topic, data, isBinary)
    } else {
      this.publishToTopic(topic, data, isBinary)
    }
    this.metrics.deliveries.value += receivers
    this.metrics.deliveredBytes.value += receivers * data.byteLength
  }

  private deliverPresence(channel: LocalChannel, { type, info, online }: PresenceEvent): void {
    if ((type === 'join' ? channel.joinWatchers : channel.leaveWatchers) === 0) return
    const frame = JSON.stringify({ event: type, client: info.client, user: info.user, online })
    this.publishToTopic(topics[type](channel.name), frame, false)
  }

  private create(name: string): LocalChannel {
    const channel: LocalChannel = {
      name,
      members: 0,
      joinWatchers: 0,
      leaveWatchers: 0,
      holds: 0,
      isSubscribed: false,
      subscribing: undefined,
      lingerTimer: undefined,
    }
    this.channels.set(name, channel)
    return channel
  }

  private async subscribe(channel: LocalChannel): Promise<void> {
    try {
      await this.broker.subscribe(channel.name)
      channel.isSubscribed = true
    } finally {
      channel.subscribing = undefined
    }
  }

  private forget(channel: LocalChannel): void {
    if (channel.subscribing !== undefined) {
      channel.lingerTimer = setTimeout(() => this.forget(channel), LINGER_MS)
      return
    }
    this.channels.delete(channel.name)
    if (channel.isSubscribed) this.broker.unsubscribe(channel.name)
  }
}
