import type { Entry } from '../redis/envelope.js'
import type { Keys } from '../redis/keys.js'
import type { RedisRelay } from '../redis/redis-relay.js'
import type { Broker, BrokerHandler, ChannelEvent } from './broker.js'
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
  }

  subscribe(channel: string): Promise<void> {
    const listener = (entries: readonly Entry[]) => this.receive(channel, entries)
    return this.relay.subscribe(this.keys.channel(channel), listener).catch(toBrokerError)
  }

  unsubscribe(channel: string): void {
    this.relay.unsubscribe(this.keys.channel(channel))
  }

  publish(channel: string, event: ChannelEvent): Promise<void> {
    return this.relay.publish(this.keys.channel(channel), toEntry(event)).catch(toBrokerError)
  }

  private receive(channel: string, entries: readonly Entry[]): void {
    const events = entries.map(toEvent)
    if (events.every((event) => event !== undefined)) this.handler?.deliver(channel, events)
    else this.ignored()
  }
}

function toEntry(event: ChannelEvent): Entry {
  if (event.type === 'publication') {
    const { data, isBinary, excludedClient, publishedAtMs } = event
    return { kind: 'publication', isBinary, client: excludedClient, timeMs: publishedAtMs, payload: data }
  }
  const { type, info, online } = event
  const { client, user, connInfo, chanInfo } = info
  const payload = Buffer.from(JSON.stringify({ user, connInfo, chanInfo, online }))
  return { kind: type, isBinary: false, client, timeMs: Date.now(), payload }
}

/** Undefined for what no node of ours would have sent. */
function toEvent({ kind, isBinary, client, timeMs, payload }: Entry): ChannelEvent | undefined {
  if (kind === 'publication') {
    return {
      type: kind,
      data: payload,
      isBinary,
      isJson: false,
      info: undefined,
      tags: undefined,
      position: undefined,
      excludedClient: client,
      publishedAtMs: timeMs,
    }
  }
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
