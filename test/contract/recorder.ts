import type { BrokerHandler } from '../../src/broker/broker.js'
import type { ChannelEvent } from '../../src/protocol/publication.js'
import { EventLog } from '../support/event-log.js'

/** Records the events that a broker delivers, and lets tests wait for them. */
export class Recorder implements BrokerHandler {
  private readonly logs = new Map<string, EventLog<ChannelEvent>>()

  /** Whether channels have watchers of joins and leaves. */
  isPresenceWatched = true

  hasPresenceWatchers(): boolean {
    return this.isPresenceWatched
  }

  receive(channel: string, events: readonly ChannelEvent[]): void {
    const log = this.logOf(channel)
    for (const event of events) {
      // Buffers live only until this returns.
      log.add(event.type === 'publication' ? { ...event, data: Buffer.from(event.data) } : event)
    }
  }

  /** Channels that were subscribed again, each as often as it was. */
  readonly resumedChannels = new EventLog<string>()

  resumed(channels: readonly string[]): void {
    for (const channel of channels) this.resumedChannels.add(channel)
  }

  /** The events of a channel so far. */
  of(channel: string): readonly ChannelEvent[] {
    return this.logOf(channel).items
  }

  /** The events of a channel so far: the payloads of publications as text, and the types of others. */
  textsOf(channel: string): string[] {
    return this.of(channel).map((event) =>
      event.type === 'publication' ? Buffer.from(event.data).toString() : event.type,
    )
  }

  /** Resolves with all events of a channel once there are at least `count`. */
  async until(channel: string, count: number): Promise<readonly ChannelEvent[]> {
    const log = this.logOf(channel)
    await log.first(count)
    return log.items
  }

  private logOf(channel: string): EventLog<ChannelEvent> {
    const log = this.logs.get(channel) ?? new EventLog<ChannelEvent>()
    this.logs.set(channel, log)
    return log
  }
}
