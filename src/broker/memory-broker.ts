import type { ChannelEvent, StreamPosition } from '../protocol/publication.js'
import type { Broker, BrokerHandler, History, HistoryQuery, PublishOptions } from './broker.js'
import { MemoryResults } from './memory-results.js'
import { MemoryStreams } from './memory-streams.js'

/** The relay of a node that is alone: what is published is delivered before `publish` returns. */
export class MemoryBroker implements Broker {
  private handler: BrokerHandler | undefined
  private readonly subscribed = new Set<string>()
  private readonly streams: MemoryStreams
  private readonly results: MemoryResults

  constructor(
    /** Milliseconds on a clock that never goes back. */
    nowMs: () => number = () => performance.now(),
  ) {
    this.streams = new MemoryStreams(nowMs)
    this.results = new MemoryResults(nowMs)
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
    const publish = () => this.take(channel, event, options)
    return Promise.resolve(key === undefined ? publish() : this.results.once(channel, key, publish))
  }

  history(channel: string, query: HistoryQuery): Promise<History> {
    return Promise.resolve(this.streams.history(channel, query))
  }

  removeHistory(channel: string): Promise<void> {
    this.streams.clear(channel)
    return Promise.resolve()
  }

  private take(channel: string, event: ChannelEvent, options?: PublishOptions): StreamPosition | undefined {
    if (event.type !== 'publication' || options?.stream === undefined) {
      this.deliver(channel, event)
      return undefined
    }
    const kept = this.streams.append(channel, event, options.stream)
    this.deliver(channel, kept)
    return kept.position
  }

  private deliver(channel: string, event: ChannelEvent): void {
    if (this.subscribed.has(channel)) this.handler?.receive(channel, [event])
  }
}
