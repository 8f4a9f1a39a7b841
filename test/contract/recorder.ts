import type { BrokerHandler } from '../../src/broker/broker.js'
import type { ChannelEvent } from '../../src/protocol/publication.js'

/** Keeps what a broker delivers, and can be waited on. */
export class Recorder implements BrokerHandler {
  private readonly events = new Map<string, ChannelEvent[]>()
  private readonly watchers = new Set<() => void>()

  /** Whether joins and leaves are wanted. */
  isPresenceWatched = true

  hasPresenceWatchers(): boolean {
    return this.isPresenceWatched
  }

  receive(channel: string, events: readonly ChannelEvent[]): void {
    const known = this.events.get(channel) ?? []
    this.events.set(channel, known)
    for (const event of events) {
      // Buffers live only until this returns.
      known.push(event.type === 'publication' ? { ...event, data: Buffer.from(event.data) } : event)
    }
    for (const watch of this.watchers) watch()
  }

  resumed(): void {}

  /** What came in a channel so far. */
  of(channel: string): readonly ChannelEvent[] {
    return this.events.get(channel) ?? []
  }

  /** Payloads as text, for tests that only care what was said. */
  textsOf(channel: string): string[] {
    return this.of(channel).map((event) =>
      event.type === 'publication' ? Buffer.from(event.data).toString() : event.type,
    )
  }

  /** Resolves with what came in a channel once it is so much. */
  async until(channel: string, count: number): Promise<readonly ChannelEvent[]> {
    await new Promise<void>((resolve) => {
      const watch = () => {
        if (this.of(channel).length < count) return
        this.watchers.delete(watch)
        resolve()
      }
      this.watchers.add(watch)
      watch()
    })
    return this.of(channel)
  }
}
