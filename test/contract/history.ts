import type { Broker, HistoryQuery, PublishOptions } from '../../src/broker/broker.js'
import type { StreamPosition } from '../../src/protocol/publication.js'
import { publication } from './publications.js'

/** Publishes texts in one tick. Resolves with their positions. */
export function publishTexts(
  broker: Broker,
  channel: string,
  texts: readonly string[],
  options: PublishOptions,
): Promise<(StreamPosition | undefined)[]> {
  return Promise.all(texts.map((text) => broker.publish(channel, publication(text), options)))
}

/** Resolves with the publications of a channel's history, each as its offset and text. */
export async function storedTexts(broker: Broker, channel: string, query: HistoryQuery): Promise<string[]> {
  const { publications } = await broker.history(channel, query)
  return publications.map(({ position, data }) => `${position?.offset} ${Buffer.from(data).toString()}`)
}
