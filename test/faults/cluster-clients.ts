import { sign } from '../support/signed-tokens.js'
import type { Shape } from './fault.js'
import type { LedgerEvent } from './ledger/events.js'
import { ApiPublisher, RawPublisher, SdkPublisher } from './publishers.js'
import { RawSubscriber, SdkSubscriber } from './subscribers.js'
import type { PublisherOf } from './traffic.js'

/** Publications of the run between two actions of a client that churns, at the least and at the most. */
const MIN_CHURN = 40
const MAX_CHURN = 200

/** Where clients connect to. */
export interface Addresses {
  readonly wsUrl: () => string
  /** Of a publisher with this number, after so many failures. */
  readonly httpUrl: (publisher: number, failures: number) => string
  /** The name of the node that an address leads to. */
  readonly nodeOf: (wsUrl: string) => string
}

export interface ClientOptions extends Addresses {
  readonly shape: Shape
  readonly random: () => number
  readonly record: (event: LedgerEvent) => void
}

/** All clients of a run. */
export class ClusterClients {
  /** Channels that keep a stream, and one that keeps nothing. */
  readonly streams: readonly string[]
  readonly plain = 'plain:0'
  readonly steady: readonly SdkSubscriber[]
  readonly publishers: readonly PublisherOf[]
  private readonly churning: readonly SdkSubscriber[]
  private readonly resubscribing: readonly SdkSubscriber[]
  readonly raw: readonly RawSubscriber[]
  private readonly channelsOf = new Map<string, ReadonlySet<string>>()
  private readonly countdowns = new Map<string, number>()

  constructor(private readonly options: ClientOptions) {
    const { shape, wsUrl, httpUrl, nodeOf, record } = options
    this.streams = Array.from({ length: shape.channels }, (_, index) => `stream:${index}`)
    const sdk = (kind: string, count: number) =>
      Array.from({ length: count }, (_, index) => {
        const name = `${kind} ${index}`
        const channels = this.choose(name, index)
        return new SdkSubscriber({ name, token: sign({ sub: name }), channels, wsUrl, nodeOf, record })
      })
    this.steady = sdk('steady', shape.steady)
    this.churning = sdk('churning', shape.churning)
    this.resubscribing = sdk('resubscribing', shape.resubscribing)
    const rawIn = (channel: string, index: number) => {
      const name = `raw ${index} of ${channel}`
      this.channelsOf.set(name, new Set([channel]))
      // The only channel that its token opens.
      const token = sign({ sub: name, channels: [channel] })
      return new RawSubscriber({ name, token, channel, wsUrl, record })
    }
    this.raw = [...this.streams, this.plain].flatMap((channel) =>
      Array.from({ length: shape.raw }, (_, index) => rawIn(channel, index)),
    )
    this.publishers = this.makePublishers(httpUrl, rawIn)
  }

  /** Whether a subscriber may receive what is published to a channel. */
  mayReceive(subscriber: string, channel: string): boolean {
    return this.channelsOf.get(subscriber)?.has(channel) === true
  }

  get sdk(): readonly SdkSubscriber[] {
    return [...this.steady, ...this.churning, ...this.resubscribing]
  }

  /** Connects all of them. */
  async connect(): Promise<void> {
    for (const subscriber of this.sdk) subscriber.connect()
    await Promise.all(this.raw.map((one) => one.connect()))
  }

  /** To be called after each publication: some of the clients act after some of them. */
  churn(): void {
    for (const subscriber of this.churning) {
      if (this.isTurnOf(subscriber)) subscriber.cut()
    }
    for (const subscriber of this.resubscribing) {
      const channels = [...(this.channelsOf.get(subscriber.name) ?? [])]
      subscriber.ensureSubscribed()
      if (!this.isTurnOf(subscriber)) continue
      subscriber.resubscribe(channels[Math.floor(this.options.random() * channels.length)] ?? '')
    }
  }

  /** Whether a subscriber is one that should have a channel's publications. */
  *subscribersOf(channel: string): Iterable<SdkSubscriber> {
    for (const subscriber of this.sdk) if (this.mayReceive(subscriber.name, channel)) yield subscriber
  }

  close(): void {
    for (const subscriber of this.sdk) subscriber.close()
    for (const one of this.raw) one.close()
    for (const { publisher } of this.publishers) publisher.close()
  }

  /** All channels but one, where there are several, so that there is something that a client must not receive. */
  private choose(name: string, index: number): readonly string[] {
    const { streams } = this
    const channels = streams.filter((_, number) => streams.length === 1 || number !== index % streams.length)
    this.channelsOf.set(name, new Set([...channels, this.plain]))
    return [...channels, this.plain]
  }

  private makePublishers(
    httpUrl: Addresses['httpUrl'],
    rawIn: (channel: string, index: number) => RawSubscriber,
  ): readonly PublisherOf[] {
    const { shape, wsUrl } = this.options
    const channels = [...this.streams, this.plain]
    const each = Array.from({ length: shape.nodes }, (_, index) => index)
    const api = each.map((index) => {
      const address = (failures: number) => httpUrl(index, failures)
      return new ApiPublisher(`api-${index}`, address, index === 0)
    })
    const sdk = each.map((index) => new SdkPublisher(`sdk-${index}`, sign({ sub: `sdk-${index}` }), wsUrl))
    const raw = [this.plain, ...this.streams.slice(0, 1)].map((channel) => {
      const client = rawIn(channel, shape.raw)
      void client.connect()
      return { publisher: new RawPublisher(`raw-${channel}`, client), channels: [channel] }
    })
    return [...[...api, ...sdk].map((publisher) => ({ publisher, channels })), ...raw]
  }

  private isTurnOf({ name }: SdkSubscriber): boolean {
    const { random } = this.options
    const remaining =
      (this.countdowns.get(name) ?? MIN_CHURN + Math.floor(random() * (MAX_CHURN - MIN_CHURN))) - 1
    if (remaining > 0) this.countdowns.set(name, remaining)
    else this.countdowns.delete(name)
    return remaining <= 0
  }
}
