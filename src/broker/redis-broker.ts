import type { ChannelEvent, Publication, StreamPosition } from '../protocol/publication.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLinks } from '../redis/redis-links.js'
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
  type KnownPosition,
  type PositionQuery,
  type PublishOptions,
} from './broker.js'

/** Relays events through Redis pub/sub. A node subscribes to the Redis channels of its own clients' channels only. */
export class RedisBroker implements Broker {
  private handler: BrokerHandler | undefined

  constructor(
    private readonly links: RedisLinks,
    private readonly keys: Keys,
    /** Called for each stream entry that is ignored as malformed. */
    private readonly onMalformed: () => void,
  ) {}

  start(handler: BrokerHandler): void {
    this.handler = handler
    this.links.onResumed((redisChannels) => {
      const channels = redisChannels.map((redisChannel) => this.keys.channelOf(redisChannel))
      handler.resumed(channels.filter((channel) => channel !== undefined))
    })
  }

  subscribe(channel: string): Promise<void> {
    const redisChannel = this.keys.channelEvents(channel)
    const { subscriber } = this.links.linkFor(redisChannel)
    return subscriber.subscribe(redisChannel, (message) => this.receive(channel, message))
  }

  unsubscribe(channel: string): void {
    const redisChannel = this.keys.channelEvents(channel)
    this.links.linkFor(redisChannel).subscriber.unsubscribe(redisChannel)
  }

  publish(
    channel: string,
    event: ChannelEvent,
    options?: PublishOptions,
  ): Promise<StreamPosition | undefined> {
    const storage = options === undefined ? undefined : this.storageOf(channel, event, options)
    const redisChannel = this.keys.channelEvents(channel)
    return this.links.linkFor(redisChannel).queue.relay(redisChannel, event, storage)
  }

  async history(channel: string, query: HistoryQuery): Promise<History> {
    const keys = this.streamKeys(channel)
    const { position, entries } = await this.links.linkFor(keys.stream).readStream(keys, query)
    const publications: Publication[] = []
    for (const { offset, bytes } of entries) {
      const publication = decodePublication(bytes, { epoch: position.epoch, offset })
      if (publication === undefined) this.onMalformed()
      else publications.push(publication)
    }
    return { publications, position }
  }

  async positions(queries: readonly PositionQuery[]): Promise<readonly (KnownPosition | 'unavailable')[]> {
    const keys = queries.map(({ channel }) => this.keys.streamMeta(channel))
    const ttlsMs = queries.map(({ metaTtlMs }) => metaTtlMs)
    const answers = queries.map((): KnownPosition | 'unavailable' => 'unavailable')
    const readGroup = async (indexes: readonly number[]) => {
      const own = pick(keys, indexes)
      const [key] = own
      const link = key === undefined ? undefined : this.links.linkFor(key)
      if (link?.isUp !== true) return
      const positions = await link.readPositions(own, pick(ttlsMs, indexes))
      for (const [at, index] of indexes.entries()) answers[index] = positions[at] ?? 'none'
    }
    // What fails shows in RedisHealth.
    await Promise.allSettled(this.links.groupsOf(keys).map(readGroup))
    return answers
  }

  async removeHistory(channel: string): Promise<void> {
    const key = this.keys.stream(channel)
    await this.links.linkFor(key).run('history', (redis) => redis.del(key))
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

function pick<T>(items: readonly T[], indexes: readonly number[]): T[] {
  return indexes.flatMap((index) => items[index] ?? [])
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
