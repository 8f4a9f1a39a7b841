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
  const { type, client, user, online } = event
  const payload = Buffer.from(JSON.stringify({ user, online }))
  return { kind: type, isBinary: false, client, timeMs: Date.now(), payload }
}

/** Undefined for what no node of ours would have sent. */
function toEvent({ kind, isBinary, client, timeMs, payload }: Entry): ChannelEvent | undefined {
  if (kind === 'publication') {
    return { type: kind, data: payload, isBinary, excludedClient: client, publishedAtMs: timeMs }
  }
  if (kind === 'control' || client === undefined) return undefined
  try {
    const { user, online } = JSON.parse(Buffer.from(payload).toString()) as {
      user?: unknown
      online?: unknown
    }
    return typeof user === 'string' && typeof online === 'number'
      ? { type: kind, client, user, online }
      : undefined
  } catch {
    return undefined
  }
}
