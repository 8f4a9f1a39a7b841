import type { ChannelEvent, Publication, StreamPosition } from '../protocol/publication.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import type { EntryStorage, StreamKeys } from '../redis/relay-batch.js'
import {
  decodeMessage,
  decodeStreamEntry,
  MalformedMessage,
  type RelayEvent,
} from '../redis/relay-message.js'
import {
  type Broker,
  type BrokerHandler,
  type History,
  type HistoryQuery,
  IDEMPOTENCY_MS,
  type PublishOptions,
} from './broker.js'

/** Relays events through Redis pub/sub. A node subscribes to the Redis channels of its own clients' channels only. */
export class RedisBroker implements Broker {
  private handler: BrokerHandler | undefined

  constructor(
    private readonly link: RedisLink,
    private readonly keys: Keys,
    /** Called for each stream entry that is ignored as malformed. */
    private readonly onMalformed: () => void,
  ) {}

  start(handler: BrokerHandler): void {
    this.handler = handler
    this.link.onResumed(() => handler.resumed())
  }

  subscribe(channel: string): Promise<void> {
    return this.link.subscriber.subscribe(this.keys.channelEvents(channel), (message) =>
      this.receive(channel, message),
    )
  }

  unsubscribe(channel: string): void {
    this.link.subscriber.unsubscribe(this.keys.channelEvents(channel))
  }

  publish(
    channel: string,
    event: ChannelEvent,
    options?: PublishOptions,
  ): Promise<StreamPosition | undefined> {
    const storage = options === undefined ? undefined : this.storageOf(channel, event, options)
    return this.link.queue.relay(this.keys.channelEvents(channel), event, storage)
  }

  async history(channel: string, query: HistoryQuery): Promise<History> {
    const { position, entries } = await this.link.readStream(this.streamKeys(channel), query)
    const publications: Publication[] = []
    for (const { offset, bytes } of entries) {
      const publication = decodePublication(bytes, { epoch: position.epoch, offset })
      if (publication === undefined) this.onMalformed()
      else publications.push(publication)
    }
    return { publications, position }
  }

  async removeHistory(channel: string): Promise<void> {
    await this.link.run('history', (redis) => redis.del(this.keys.stream(channel)))
  }

  private streamKeys(channel: string): StreamKeys {
    return { meta: this.keys.streamMeta(channel), stream: this.keys.stream(channel) }
  }

  private storageOf(
    channel: string,
    event: ChannelEvent,
    { stream, idempotencyKey }: PublishOptions,
  ): EntryStorage | undefined {
    const isStored = stream !== undefined && event.type === 'publication'
    if (!isStored && idempotencyKey === undefined) return undefined
    return {
      stream: isStored ? { ...stream, ...this.streamKeys(channel) } : undefined,
      idempotency:
        idempotencyKey === undefined
          ? undefined
          : { resultKey: this.keys.idempotency(channel, idempotencyKey), ttlMs: IDEMPOTENCY_MS },
    }
  }

  /** Throws MalformedMessage. */
  private receive(channel: string, message: Buffer): void {
    const { handler } = this
    if (handler === undefined) return
    const events = decodeMessage(message, (type) => handler.hasPresenceWatchers(channel, type))
    if (!areChannelEvents(events)) throw new MalformedMessage('control in a channel')
    if (events.length > 0) handler.receive(channel, events)
  }
}

function areChannelEvents(events: readonly RelayEvent[]): events is readonly ChannelEvent[] {
  return events.every(({ type }) => type !== 'control')
}

/** Returns undefined for an entry that no node has written, such as one without bytes. */
function decodePublication(bytes: Buffer | undefined, position: StreamPosition): Publication | undefined {
  if (bytes === undefined) return undefined
  try {
    return decodeStreamEntry(bytes, position)
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return undefined
  }
}
