import {
  decodeEntry,
  type Entry,
  MalformedMessage,
  plainEntry,
  type StreamPosition,
} from '../redis/envelope.js'
import type { Keys } from '../redis/keys.js'
import type { RedisRelay } from '../redis/redis-relay.js'
import type { EntryListener } from '../redis/relay-subscriber.js'
import type { EntryHandling } from '../redis/stream-calls.js'
import {
  type Broker,
  type BrokerHandler,
  type ChannelEvent,
  type History,
  type HistoryQuery,
  IDEMPOTENCY_MS,
  type Position,
  type Publication,
  type PublishOptions,
} from './broker.js'
import { toBrokerError } from './redis-broker-error.js'

/** Relays through Redis pub/sub. A node subscribes to a channel only while somebody on it is in the channel. */
export class RedisBroker implements Broker {
  private handler: BrokerHandler | undefined

  constructor(
    private readonly relay: RedisRelay,
    private readonly keys: Keys,
    private readonly ignored: () => void,
  ) {}

  start(handler: BrokerHandler): void {
    this.handler = handler
    this.relay.onResumed(() => handler.resumed())
  }

  subscribe(channel: string): Promise<void> {
    const listener: EntryListener = (entries, first) => this.receive(channel, entries, first)
    return this.relay.subscribe(this.keys.channel(channel), listener).catch(toBrokerError)
  }

  unsubscribe(channel: string): void {
    this.relay.unsubscribe(this.keys.channel(channel))
  }

  publish(channel: string, event: ChannelEvent, options?: PublishOptions): Promise<Position | undefined> {
    const handling = options === undefined ? undefined : this.handlingOf(channel, event, options)
    return this.relay.publish(this.keys.channel(channel), toEntry(event), handling).catch(toBrokerError)
  }

  async history(channel: string, query: HistoryQuery): Promise<History> {
    const slice = await this.relay.readStream(this.streamKeys(channel), query).catch(toBrokerError)
    const { epoch } = slice.position
    const publications: Publication[] = []
    for (const { offset, bytes } of slice.entries) {
      const publication = toKeptPublication(bytes, { epoch, offset })
      if (publication === undefined) this.ignored()
      else publications.push(publication)
    }
    return { publications, position: slice.position }
  }

  async removeHistory(channel: string): Promise<void> {
    await this.relay.run((redis) => redis.del(this.keys.stream(channel))).catch(toBrokerError)
  }

  private streamKeys(channel: string) {
    return { meta: this.keys.streamMeta(channel), stream: this.keys.stream(channel) }
  }

  private handlingOf(
    channel: string,
    event: ChannelEvent,
    { stream, idempotencyKey }: PublishOptions,
  ): EntryHandling | undefined {
    const isKept = stream !== undefined && event.type === 'publication'
    if (!isKept && idempotencyKey === undefined) return undefined
    return {
      stream: isKept ? { ...stream, ...this.streamKeys(channel) } : undefined,
      once:
        idempotencyKey === undefined
          ? undefined
          : { resultKey: this.keys.idempotency(channel, idempotencyKey), ttlMs: IDEMPOTENCY_MS },
    }
  }

  private receive(channel: string, entries: readonly Entry[], first: StreamPosition | undefined): void {
    const events: ChannelEvent[] = []
    for (const [index, entry] of entries.entries()) {
      const { kind } = entry
      // When thousands come back at once, reading what nobody wants would be a good part of what they cost. Nor is it
      // looked at whether it could be read.
      if ((kind === 'join' || kind === 'leave') && this.handler?.hears(channel, kind) !== true) continue
      const event = toEvent(entry, first && { epoch: first.epoch, offset: first.offset + index })
      if (event === undefined) {
        this.ignored()
        return
      }
      events.push(event)
    }
    if (events.length > 0) this.handler?.deliver(channel, events)
  }
}

function toEntry(event: ChannelEvent): Entry {
  if (event.type === 'publication') {
    const { data, isBinary, isJson, info, tags, excludedClient, publishedAtMs } = event
    return {
      kind: 'publication',
      isBinary,
      isJson,
      info,
      tags,
      client: excludedClient,
      timeMs: publishedAtMs,
      payload: data,
    }
  }
  const { type, info, online } = event
  const { client, user, connInfo, chanInfo } = info
  const payload = Buffer.from(JSON.stringify({ user, connInfo, chanInfo, online }))
  return plainEntry({ kind: type, client, timeMs: Date.now(), payload })
}

/** Undefined for what no node of ours would have kept. */
function toKeptPublication(bytes: Buffer | undefined, position: StreamPosition): Publication | undefined {
  try {
    const event = bytes === undefined ? undefined : toEvent(decodeEntry(bytes), position)
    return event?.type === 'publication' ? event : undefined
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return undefined
  }
}

/** Undefined for what no node of ours would have sent. */
function toEvent(entry: Entry, position: StreamPosition | undefined): ChannelEvent | undefined {
  const { kind, isBinary, isJson, info, tags, client, timeMs, payload } = entry
  if (kind === 'publication') {
    return {
      type: kind,
      data: payload,
      isBinary,
      isJson,
      info,
      tags,
      position,
      excludedClient: client,
      publishedAtMs: timeMs,
    }
  }
  if (position !== undefined) return undefined
  if (kind === 'control' || client === undefined) return undefined
  try {
    const { user, online, connInfo, chanInfo } = JSON.parse(Buffer.from(payload).toString()) as {
      user?: unknown
      online?: unknown
      connInfo?: unknown
      chanInfo?: unknown
    }
    if (typeof user !== 'string') return undefined
    if (online !== undefined && typeof online !== 'number') return undefined
    if (!isOptionalText(connInfo) || !isOptionalText(chanInfo)) return undefined
    return { type: kind, info: { client, user, connInfo, chanInfo }, online }
  } catch {
    return undefined
  }
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}
