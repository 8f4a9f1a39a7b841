import type { Redis } from 'ioredis'
import { errorMessage } from '../error-message.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import { setDeadline } from './deadline.js'
import { readMasterId, warnOfUnknownMaster } from './master-id.js'
import { createRedisConnection } from './redis-connection.js'
import type { StreamKeys } from './relay-batch.js'
import { RelayQueue } from './relay-queue.js'
import { RelaySubscriber } from './relay-subscriber.js'
import { readStream, type StreamQuery, type StreamSlice } from './stream-scripts.js'

const COMMAND_DEADLINE_MS = 1_500
/** Silence after which a connection is taken for dead, where it is known that Redis should have sent something. */
const SILENT_MS = 2_000

export interface RedisLinkOptions {
  readonly url: string
  readonly queueBytes: number
  readonly log: Logger
  readonly metrics: Metrics
}

/**
 * A node's link to Redis: one connection for commands and relaying, one for subscriptions. No command blocks on either.
 */
export class RedisLink {
  /** Relays events to the subscribers of a Redis channel. */
  readonly queue: RelayQueue
  /** Receives the messages of Redis channels. */
  readonly subscriber: RelaySubscriber
  private readonly commands: Redis
  private readonly subscriptions: Redis
  private readonly warnOfUnknownMaster: (error: string) => void
  private isSubscriberUp = false
  private onSubscribed: () => void = () => undefined
  /** The master's replication id, being read or read; undefined while there is no connection. */
  private masterIdRead: Promise<string> | undefined
  private masterId: string | undefined
  private connectionCount = 0
  private isCorked = false

  constructor({ url, queueBytes, log, metrics }: RedisLinkOptions) {
    this.commands = createRedisConnection(url, 'publisher', log, metrics)
    this.subscriptions = createRedisConnection(url, 'subscriber', log, metrics)
    this.queue = new RelayQueue(this.commands, queueBytes, metrics)
    this.subscriber = new RelaySubscriber(this.subscriptions, log, metrics, (isUp) => {
      this.isSubscriberUp = isUp
      this.resumeOrPauseQueue()
      if (isUp) this.onSubscribed()
    })
    this.warnOfUnknownMaster = warnOfUnknownMaster(log)
    this.commands.on('ready', () => {
      this.connectionCount++
      this.identifyMaster()
    })
    this.commands.on('close', () => {
      this.masterIdRead = undefined
      this.masterId = undefined
      this.queue.connectionLost()
    })
  }

  /** How often the connection for commands was established: Redis may have lost data in between. */
  get connections(): number {
    return this.connectionCount
  }

  /** Whether the connection for commands is established, as far as this side knows. */
  get isUp(): boolean {
    return this.commands.status === 'ready'
  }

  /** Starts connecting, and reconnects for ever. */
  start(): void {
    // The connections log their failures and retry.
    this.commands.connect().catch(() => undefined)
    this.subscriptions.connect().catch(() => undefined)
  }

  /** Calls back on every new connection once all Redis channels are subscribed, the first time too. */
  onResumed(callback: () => void): void {
    this.onSubscribed = callback
  }

  /** Reads entries of a stream and its position, both of one moment. Rejects with a BrokerError within 2 s. */
  readStream(keys: StreamKeys, query: StreamQuery): Promise<StreamSlice> {
    return this.run(async (redis) => {
      if (this.masterIdRead === undefined) throw new Error('there is no connection')
      return readStream(redis, await this.masterIdRead, keys, query)
    })
  }

  /** Runs commands. Rejects with a BrokerError within 2 s when they fail or are not answered. */
  async run<T>(commands: (redis: Redis) => Promise<T>): Promise<T> {
    let cancelDeadline: () => void = () => undefined
    const late = new Promise<never>((_, reject) => {
      cancelDeadline = setDeadline(COMMAND_DEADLINE_MS, () => reject(new Error('no answer in time')))
    })
    this.corkWrites()
    try {
      return await Promise.race([commands(this.commands), late])
    } catch (error) {
      const why = errorMessage(error)
      throw new BrokerError('unavailable', `Redis cannot be reached: ${why}`, { cause: error })
    } finally {
      cancelDeadline()
    }
  }

  /**
   * Reconnects the subscriber: a half-open connection looks established for about 50 s. Not while it makes progress, as
   * while very many channels are being subscribed. The queue reconnects for commands when a reply is overdue.
   */
  reconnect(): void {
    if (this.subscriber.silenceMs < SILENT_MS) return
    this.queue.pause()
    this.subscriptions.disconnect(true)
  }

  close(): void {
    this.queue.close()
    this.commands.disconnect()
    this.subscriptions.disconnect()
  }

  /**
   * Commands of one loop iteration leave by one write, in their order: thousands of clients that reconnect together
   * would cost a system call each, and more, otherwise.
   */
  private corkWrites(): void {
    if (this.isCorked || !this.isUp) return
    const { stream } = this.commands
    this.isCorked = true
    stream.cork()
    setImmediate(() => {
      this.isCorked = false
      stream.uncork()
    })
  }

  /**
   * Reads the master's replication id on every new connection before anything is relayed over it: it may lead to another
   * master, which gives other epochs. A connection that does not answer is closed and made anew.
   */
  private identifyMaster(): void {
    const reading = readMasterId(this.commands, this.warnOfUnknownMaster)
    this.masterIdRead = reading
    const cancelDeadline = setDeadline(COMMAND_DEADLINE_MS, () => {
      if (this.masterIdRead === reading) this.commands.disconnect(true)
    })
    reading
      .then((masterId) => {
        if (this.masterIdRead !== reading) return
        this.masterId = masterId
        this.resumeOrPauseQueue()
      })
      // The connection is lost, and will be made anew.
      .catch(() => undefined)
      .finally(cancelDeadline)
  }

  /** A queue that resumes before its node's subscriber would relay events that this node does not receive itself. */
  private resumeOrPauseQueue(): void {
    const isUp = this.isUp && this.isSubscriberUp
    if (isUp && this.masterId !== undefined) this.queue.resume(this.masterId)
    else this.queue.pause()
  }
}
