import type { Redis } from 'ioredis'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { type Entry, encodeEntry } from './envelope.js'
import { createRedisConnection } from './redis-connection.js'
import { RelayError, RelayPublisher } from './relay-publisher.js'
import { type EntryListener, RelaySubscriber } from './relay-subscriber.js'

const COMMAND_DEADLINE_MS = 1_500
/** After which a connection that says nothing is taken for dead, where it is known that it should. */
const SILENT_MS = 2_000

export interface RedisRelayOptions {
  readonly url: string
  readonly queueBytes: number
  readonly log: Logger
  readonly metrics: Metrics
}

/** A node's two connections to Redis: one for commands and publishing, one for subscribing. Nothing blocks on either. */
export class RedisRelay {
  private readonly commands: Redis
  private readonly subscriptions: Redis
  private readonly publisher: RelayPublisher
  private readonly subscriber: RelaySubscriber
  private isSubscriberUp = false

  constructor({ url, queueBytes, log, metrics }: RedisRelayOptions) {
    this.commands = createRedisConnection(url, 'publisher', log, metrics)
    this.subscriptions = createRedisConnection(url, 'subscriber', log, metrics)
    this.publisher = new RelayPublisher(this.commands, queueBytes, metrics)
    this.subscriber = new RelaySubscriber(this.subscriptions, log, metrics, (isUp) => {
      this.isSubscriberUp = isUp
      this.open()
    })
    this.commands.on('ready', () => this.open())
    this.commands.on('close', () => this.publisher.connectionLost())
  }

  /** Starts connecting, and goes on for ever. */
  start(): void {
    // Failures are logged and retried where the connections are made.
    this.commands.connect().catch(() => undefined)
    this.subscriptions.connect().catch(() => undefined)
  }

  /** Resolves when Redis has taken the entry; rejects with a RelayError within 2 s otherwise. */
  publish(redisChannel: string, entry: Entry): Promise<void> {
    return this.publisher.publish(redisChannel, encodeEntry(entry), entry.kind === 'control')
  }

  subscribe(redisChannel: string, listener: EntryListener): Promise<void> {
    return this.subscriber.subscribe(redisChannel, listener)
  }

  unsubscribe(redisChannel: string): void {
    this.subscriber.unsubscribe(redisChannel)
  }

  /** Runs commands that are not publishing. Rejects with a RelayError within 2 s when they are not answered. */
  async run<T>(commands: (redis: Redis) => Promise<T>): Promise<T> {
    let deadline: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      deadline = setTimeout(() => reject(new Error('no answer in time')), COMMAND_DEADLINE_MS)
    })
    try {
      return await Promise.race([commands(this.commands), late])
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new RelayError('unavailable', `Redis cannot be reached: ${why}`)
    } finally {
      clearTimeout(deadline)
    }
  }

  /**
   * Makes the subscribing connection anew: a half-open one looks fine for about 50 s. Not while it makes progress, as
   * with subscribing to very many channels. The other one is renewed by the publisher when an answer is overdue.
   */
  reconnect(): void {
    if (this.subscriber.silenceMs < SILENT_MS) return
    this.publisher.pause()
    this.subscriptions.disconnect(true)
  }

  close(): void {
    this.publisher.close()
    this.commands.disconnect()
    this.subscriptions.disconnect()
  }

  /** A publisher that is back before its node's subscriber would publish what this node never hears. */
  private open(): void {
    if (this.commands.status === 'ready' && this.isSubscriberUp) this.publisher.resume()
    else this.publisher.pause()
  }
}
