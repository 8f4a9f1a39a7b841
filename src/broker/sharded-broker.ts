import type { ChannelEvent, StreamPosition } from '../protocol/publication.js'
import type {
  Broker,
  BrokerHandler,
  History,
  HistoryQuery,
  KnownPosition,
  PositionQuery,
  PublishOptions,
} from './broker.js'

/** Several brokers, each for the channels that are placed on it. */
export class ShardedBroker implements Broker {
  constructor(
    private readonly brokers: readonly Broker[],
    private readonly brokerOf: (channel: string) => Broker,
  ) {}

  start(handler: BrokerHandler): void {
    for (const broker of this.brokers) broker.start(handler)
  }

  subscribe(channel: string): Promise<void> | undefined {
    return this.brokerOf(channel).subscribe(channel)
  }

  unsubscribe(channel: string): void {
    this.brokerOf(channel).unsubscribe(channel)
  }

  publish(
    channel: string,
    event: ChannelEvent,
    options?: PublishOptions,
  ): Promise<StreamPosition | undefined> {
    return this.brokerOf(channel).publish(channel, event, options)
  }

  history(channel: string, query: HistoryQuery): Promise<History> {
    return this.brokerOf(channel).history(channel, query)
  }

  async positions(queries: readonly PositionQuery[]): Promise<readonly (KnownPosition | 'unavailable')[]> {
    const answers = new Map<PositionQuery, KnownPosition | 'unavailable'>()
    const askOne = async (broker: Broker) => {
      const own = queries.filter(({ channel }) => this.brokerOf(channel) === broker)
      const positions = await broker.positions(own)
      for (const [index, query] of own.entries()) answers.set(query, positions[index] ?? 'unavailable')
    }
    await Promise.all(this.brokers.map(askOne))
    return queries.map((query) => answers.get(query) ?? 'unavailable')
  }

  removeHistory(channel: string): Promise<void> {
    return this.brokerOf(channel).removeHistory(channel)
  }
}
