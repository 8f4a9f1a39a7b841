import type { Broker, BrokerHandler, ChannelEvent } from './broker.js'

/** The relay of a node that is alone: what is published is delivered before `publish` returns. */
export class MemoryBroker implements Broker {
  private handler: BrokerHandler | undefined
  private readonly subscribed = new Set<string>()

  start(handler: BrokerHandler): void {
    this.handler = handler
  }

  subscribe(channel: string): Promise<void> {
    this.subscribed.add(channel)
    return Promise.resolve()
  }

  unsubscribe(channel: string): void {
    this.subscribed.delete(channel)
  }

  publish(channel: string, event: ChannelEvent): Promise<void> {
    if (this.subscribed.has(channel)) this.handler?.deliver(channel, [event])
    return Promise.resolve()
  }
}
