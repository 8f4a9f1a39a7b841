import type { ChannelEvent, StreamPosition } from '../protocol/publication.js'
import type { Broker, BrokerHandler, History, HistoryQuery, PositionQuery, PublishOptions } from './broker.js'
import { MemoryIdempotency } from './memory-idempotency.js'
import { MemoryStreams } from './memory-streams.js'

/** The broker of a node that runs alone: its handler receives an event before `publish` returns. */
export class MemoryBroker implements Broker {
  private handler: BrokerHandler | undefined
  private readonly subscribed = new Set<string>()
  private readonly streams: MemoryStreams
  private readonly idempotency: MemoryIdempotency

  constructor(
    /** Milliseconds on a clock that never goes back. */
    nowMs: () => number = () => performance.now(),
  ) {
    this.streams = new MemoryStreams(nowMs)
    this.idempotency = new MemoryIdempotency(nowMs)
  }

  start(handler: BrokerHandler): void {
    this.handler = handler
  }

  subscribe(channel: string): undefined {
    this.subscribed.add(channel)
  }

  unsubscribe(channel: string): void {
    this.subscribed.delete(channel)
  }

  publish(
    channel: string,
    event: ChannelEvent,
    options?: PublishOptions,
  ): Promise<StreamPosition | undefined> {
    const key = options?.idempotencyKey
    const publish = () => this.publishNow(channel, event, options)
    return Promise.resolve(
      key === undefined ? publish() : this.idempotency.publishOnce(channel, key, publish),
    )
  }

  history(channel: string, query: HistoryQuery): Promise<History> {
    return Promise.resolve(this.streams.history(channel, query))
  }

  positions(queries: readonly PositionQuery[]): ReturnType<Broker['positions']> {
    const positionOf = ({ channel, metaTtlMs }: PositionQuery) => this.streams.position(channel, metaTtlMs)
    return Promise.resolve(queries.map(positionOf))
  }

  removeHistory(channel: string): Promise<void> {
    this.streams.clear(channel)
    return Promise.resolve()
  }

  private publishNow(
    channel: string,
    event: ChannelEvent,
    options?: PublishOptions,
  ): StreamPosition | undefined {
    if (event.type !== 'publication' || options?.stream === undefined) {
      this.receive(channel, event)
      return undefined
    }
    const stored = this.streams.append(channel, event, options.stream)
    this.receive(channel, stored)
    return stored.position
  }

  private receive(channel: string, event: ChannelEvent): void {
    if (this.subscribed.has(channel)) this.handler?.receive(channel, [event])
  }
}
