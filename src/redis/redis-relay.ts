import type { Redis } from 'ioredis'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { type Entry, encodeEntry, type StreamPosition } from './envelope.js'
import { readMasterId, warnOfUnknownMaster } from './master-id.js'
import { createRedisConnection } from './redis-connection.js'
import { RelayError, RelayPublisher } from './relay-publisher.js'
import { type EntryListener, RelaySubscriber } from './relay-subscriber.js'
import {
  type EntryHandling,
  readStream,
  type StreamKeys,
  type StreamQuery,
  type StreamSlice,
} from './stream-calls.js'

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
  private readonly warnOfUnknownMaster: (error: string) => void
  private isSubscriberUp = false
  private resumed: () => void = () => undefined
  /** Replication id of the master, on its way or read; undefined while there is no connection. */
  private reading: Promise<string> | undefined
  private masterId: string | undefined
  private commandConnections = 0
  private areWritesHeld = false

  constructor({ url, queueBytes, log, metrics }: RedisRelayOptions) {
    this.commands = createRedisConnection(url, 'publisher', log, metrics)
    this.subscriptions = createRedisConnection(url, 'subscriber', log, metrics)
    this.publisher = new RelayPublisher(this.commands, queueBytes, metrics)
    this.subscriber = new RelaySubscriber(this.subscriptions, log, metrics, (isUp) => {
      this.isSubscriberUp = isUp
      this.open()
      if (isUp) this.resumed()
    })
    this.warnOfUnknownMaster = warnOfUnknownMaster(log)
    this.commands.on('ready', () => {
      this.commandConnections++
      this.identifyMaster()
    })
    this.commands.on('close', () => {
      this.reading = undefined
      this.masterId = undefined
      this.publisher.connectionLost()
    })
  }

  /** How often the connection for commands has been made: Redis may have forgotten something in between. */
  get connections(): number {
    return this.commandConnections
  }

  /** Whether commands reach Redis, as far as this side knows. */
  get isUp(): boolean {
    return this.commands.status === 'ready'
  }

  /** Starts connecting, and goes on for ever. */
  start(): void {
    // Failures are logged and retried where the connections are made.
    this.commands.connect().catch(() => undefined)
    this.subscriptions.connect().catch(() => undefined)
  }

  /**
   * Resolves when Redis has taken the entry, with its place if it is in a stream; rejects with a RelayError within 2 s
   * otherwise.
   */
  publish(redisChannel: string, entry: Entry, handling?: EntryHandling): Promise<StreamPosition | undefined> {
    return this.publisher.publish(redisChannel, encodeEntry(entry), handling, entry.kind === 'control')
  }

  /** Entries of a stream and its position, of one moment. Rejects with a RelayError within 2 s. */
  readStream(keys: StreamKeys, query: StreamQuery): Promise<StreamSlice> {
    return this.run(async (redis) => {
      if (this.reading === undefined) throw new Error('there is no connection')
      return readStream(redis, await this.reading, keys, query)
    })
  }

  /** Calls back whenever everything is subscribed after the connection was made, the first time too. */
  onResumed(resumed: () => void): void {
    this.resumed = resumed
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
    this.holdWrites()
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

  /**
   * Commands of one loop iteration leave by one write, in their order: thousands of clients that come back together
   * would cost a system call each, and more, otherwise.
   */
  private holdWrites(): void {
    if (this.areWritesHeld || !this.isUp) return
    const { stream } = this.commands
    this.areWritesHeld = true
    stream.cork()
    setImmediate(() => {
      this.areWritesHeld = false
      stream.uncork()
    })
  }

  /**
   * On every connection before anything is published on it: behind it may be another master, which gives other epochs.
   * A connection that does not answer is made anew.
   */
  private identifyMaster(): void {
    const reading = readMasterId(this.commands, this.warnOfUnknownMaster)
    this.reading = reading
    const deadline = setTimeout(() => {
      if (this.reading === reading) this.commands.disconnect(true)
    }, COMMAND_DEADLINE_MS)
    reading
      .then((masterId) => {
        if (this.reading !== reading) return
        this.masterId = masterId
        this.open()
      })
      // The connection is lost, and will be made anew.
      .catch(() => undefined)
      .finally(() => clearTimeout(deadline))
  }

  /** A publisher that is back before its node's subscriber would publish what this node never hears. */
  private open(): void {
    const isUp = this.isUp && this.isSubscriberUp
    if (isUp && this.masterId !== undefined) this.publisher.resume(this.masterId)
    else this.publisher.pause()
  }
}
