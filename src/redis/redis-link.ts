import type { Redis } from 'ioredis'
import { errorMessage } from '../error-message.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { ByteBudget } from './byte-budget.js'
import { setDeadline } from './deadline.js'
import type { Keys } from './keys.js'
import { createRedisConnection, type RedisConnectionOptions } from './redis-connection.js'
import {
  isClusterDown,
  isNotMaster,
  isOtherMaster,
  isRedirection,
  isRefusal,
  type RedisReason,
  ReplicaError,
} from './redis-errors.js'
import { RedisHealth } from './redis-health.js'
import { type RedisIdentity, readIdentity } from './redis-identity.js'
import type { StreamKeys } from './relay-batch.js'
import { RelayQueue } from './relay-queue.js'
import { RelaySubscriber } from './relay-subscriber.js'
import { readPositions, readStream, type StreamQuery, type StreamSlice } from './stream-scripts.js'

const COMMAND_DEADLINE_MS = 1_500
/** Silence after which a connection is taken for dead, where it is known that Redis should have sent something. */
const SILENT_MS = 2_000
/** Time between two identifications of the server: a promotion cuts no connection, and a demoted master keeps its own. */
const IDENTIFY_INTERVAL_MS = 1_000
/** Time between attempts where the server is no master, or refuses to be identified. */
const RETRY_MS = 500

/** Time without a connection, or without a master, after which Redis counts as unreachable. */
const UNREACHABLE_AFTER_MS = 1_500

export interface RedisLinkOptions extends RedisConnectionOptions {
  readonly keys: Keys
  /** Bytes that may wait for Redis. */
  readonly budget: ByteBudget
  /** Called when a server of a Redis Cluster has said that another one has a slot, or will have it. */
  readonly onRedirected?: (error: Error | undefined) => void
}

/**
 * A node's link to Redis: one connection for commands and relaying, one for subscriptions. No command blocks on either.
 *
 * Both lead to a master, or nowhere: the server is identified on each new connection, every second, and when a reply shows
 * that it is another one. Where it is no master, both connections are made anew, since the address may lead elsewhere now.
 */
export class RedisLink {
  /** Relays events to the subscribers of a Redis channel. */
  readonly queue: RelayQueue
  /** Receives the messages of Redis channels. */
  readonly subscriber: RelaySubscriber
  /** What Redis refuses this node. */
  readonly health: RedisHealth
  private readonly commands: Redis
  private readonly subscriptions: Redis
  private isSubscriberUp = false
  private resumed: (redisChannels: readonly string[]) => void = () => undefined
  private isStarted = false
  /** The identity of the server, being read or read; undefined while there is no connection. */
  private identityRead: Promise<RedisIdentity> | undefined
  /** The master that this link leads to; undefined while there is none. */
  private master: RedisIdentity | undefined
  private timer: NodeJS.Timeout | undefined
  private connectionCount = 0
  private isCorked = false
  private isClosed = false
  /** Since when the link has not been up; undefined while it is. */
  private downSinceMs: number | undefined = performance.now()

  constructor(private readonly options: RedisLinkOptions) {
    const { keys, budget, log, metrics, shard, onRedirected = () => undefined } = options
    const isSharded = keys.isCluster
    this.health = new RedisHealth(shard, log, metrics)
    this.commands = createRedisConnection(options, 'publisher')
    this.subscriptions = createRedisConnection(options, 'subscriber')
    this.queue = new RelayQueue({
      redis: this.commands,
      budget,
      isSharded,
      metrics,
      onOtherServer: () => this.identifyAnew(),
      onRedirected,
      onOutcome: (operation, refusal) => {
        if (refusal === undefined) this.health.succeeded(operation)
        else this.health.failed(operation, refusal)
      },
    })
    this.subscriber = new RelaySubscriber({
      redis: this.subscriptions,
      isSharded,
      log,
      metrics,
      health: this.health,
      onStateChange: (isUp) => {
        this.isSubscriberUp = isUp
        this.resumeOrPauseQueue()
      },
      onResumed: (redisChannels) => this.resumed(redisChannels),
      onRedirected,
    })
    this.commands.on('ready', () => {
      this.connectionCount++
      this.identify()
    })
    this.commands.on('close', () => {
      clearTimeout(this.timer)
      this.identityRead = undefined
      this.master = undefined
      this.queue.connectionLost()
      this.noteState()
    })
  }

  /** So that one link can stand where a Redis Cluster has several. */
  linkFor(): RedisLink {
    return this
  }

  groupsOf(keys: readonly string[]): readonly (readonly number[])[] {
    return [keys.map((_, index) => index)]
  }

  get reasonsByShard(): Readonly<Record<string, readonly RedisReason[]>> {
    const { reasons } = this
    return reasons.length === 0 ? {} : { [this.options.shard]: reasons }
  }

  private get reasons(): readonly RedisReason[] {
    const { downSinceMs } = this
    const isDown = downSinceMs !== undefined && performance.now() - downSinceMs > UNREACHABLE_AFTER_MS
    const { reasons } = this.health
    return isDown && reasons.length === 0 ? ['redis_unreachable'] : reasons
  }

  /** How often the connection for commands was established: Redis may have lost data in between. */
  get connections(): number {
    return this.connectionCount
  }

  /** Whether the connection for commands is established and leads to a master, as far as this side knows. */
  get isUp(): boolean {
    return this.commands.status === 'ready' && this.master !== undefined
  }

  /** Starts connecting, and reconnects for ever. */
  start(): void {
    if (this.isStarted) return
    this.isStarted = true
    // The connections log their failures and retry.
    this.commands.connect().catch(() => undefined)
    this.subscriptions.connect().catch(() => undefined)
  }

  onResumed(callback: (redisChannels: readonly string[]) => void): void {
    this.resumed = callback
  }

  /** Reads entries of a stream and its position, both of one moment. Rejects with a BrokerError within 2 s. */
  readStream(keys: StreamKeys, query: StreamQuery): Promise<StreamSlice> {
    return this.run('history', (redis, master) => readStream(redis, master, keys, query))
  }

  /** Reads the positions of streams; undefined where there is none. Rejects with a BrokerError within 2 s. */
  readPositions(
    metaKeys: readonly string[],
    metaTtlsMs: readonly number[],
  ): Promise<(StreamPosition | undefined)[]> {
    return this.run('history', (redis, master) => readPositions(redis, master, metaKeys, metaTtlsMs))
  }

  /**
   * Runs commands. Rejects with a BrokerError within 2 s when they fail or are not answered.
   * @param operation what they are for, as metrics and the log name it
   */
  async run<T>(operation: string, commands: (redis: Redis, master: RedisIdentity) => Promise<T>): Promise<T> {
    let cancelDeadline: () => void = () => undefined
    const late = new Promise<never>((_, reject) => {
      cancelDeadline = setDeadline(COMMAND_DEADLINE_MS, () => reject(new Error('no answer in time')))
    })
    this.corkWrites()
    try {
      const result = await Promise.race([this.runOnMaster(commands), late])
      this.health.succeeded(operation)
      return result
    } catch (error) {
      this.commandFailed(operation, error)
      const why = errorMessage(error)
      const what = isRefusal(error) ? 'Redis refused' : 'Redis cannot be reached'
      throw new BrokerError('unavailable', `${what}: ${why}`, { cause: error })
    } finally {
      cancelDeadline()
    }
  }

  /**
   * Waits for every command, so that one that Redis refuses for its channel fails no other. Reasons are BrokerErrors.
   * @param operation what they are for, as metrics and the log name it
   */
  async settle<T>(operation: string, commands: readonly Promise<T>[]): Promise<PromiseSettledResult<T>[]> {
    let refusal: unknown
    const outcomes = await Promise.allSettled(
      commands.map((command) =>
        command.catch((error: unknown) => {
          refusal ??= error
          throw new BrokerError('unavailable', `Redis did not take it: ${errorMessage(error)}`, {
            cause: error,
          })
        }),
      ),
    )
    if (refusal === undefined) this.health.succeeded(operation)
    else this.commandFailed(operation, refusal)
    return outcomes
  }

  private commandFailed(operation: string, error: unknown): void {
    const isRedirected = this.options.keys.isCluster && isRedirection(error)
    if (isRedirected) this.options.onRedirected?.(error)
    // Both are over a moment later: another server has the keys, or is the master.
    if (isOtherMaster(error) || (isRedirected && !isClusterDown(error))) return
    this.health.failed(operation, error)
  }

  /**
   * Reconnects the subscriber: a half-open connection looks established for about 50 s. Not while it makes progress, as
   * while very many channels are being subscribed. The queue reconnects for commands when a reply is overdue.
   */
  reconnect(): void {
    if (!this.isStarted || this.subscriber.silenceMs < SILENT_MS) return
    this.queue.pause()
    this.subscriptions.disconnect(true)
  }

  close(): void {
    this.isClosed = true
    clearTimeout(this.timer)
    this.queue.close()
    this.commands.disconnect()
    this.subscriber.close()
  }

  /**
   * Commands of one loop iteration leave by one write, in their order: thousands of clients that reconnect together
   * would cost a system call each, and more, otherwise.
   */
  private corkWrites(): void {
    if (this.isCorked || this.commands.status !== 'ready') return
    const { stream } = this.commands
    this.isCorked = true
    stream.cork()
    setImmediate(() => {
      this.isCorked = false
      stream.uncork()
    })
  }

  /** Commands wait for the first identification: before it they might reach a replica, or another database. */
  private async runOnMaster<T>(commands: (redis: Redis, master: RedisIdentity) => Promise<T>): Promise<T> {
    const server = this.master ?? (await this.identityRead)
    if (server === undefined) throw new Error('there is no connection')
    if (server.isReplica) throw new ReplicaError('the address leads to a replica')
    try {
      return await commands(this.commands, server)
    } catch (error) {
      if (isNotMaster(error) || isOtherMaster(error)) this.identifyAnew()
      throw error
    }
  }

  /** What is known of the server is wrong: nothing is sent until it is identified. */
  private identifyAnew(): void {
    this.master = undefined
    this.queue.pause()
    this.identify()
  }

  /** Identifies the server, and again every second. A connection that does not answer is closed and made anew. */
  private identify(): void {
    if (this.isClosed || this.commands.status !== 'ready') return
    clearTimeout(this.timer)
    const reading = this.selectAndIdentify()
    this.identityRead = reading
    const isCurrent = () => this.identityRead === reading
    const cancelDeadline = setDeadline(COMMAND_DEADLINE_MS, () => {
      if (isCurrent()) this.commands.disconnect(true)
    })
    reading
      .then((identity) => {
        if (isCurrent()) this.identified(identity)
      })
      .catch((error: unknown) => {
        if (isCurrent()) this.notIdentified(error)
      })
      .finally(cancelDeadline)
  }

  /** Where Redis refuses the database nothing else is sent, since it would reach database 0. */
  private async selectAndIdentify(): Promise<RedisIdentity> {
    const { keys, address } = this.options
    if (address.database !== 0 && this.master === undefined) await this.commands.select(address.database)
    return readIdentity(this.commands, keys)
  }

  private identified(identity: RedisIdentity): void {
    const { problem } = identity
    if (identity.isReplica) {
      this.health.failedFor('identify', 'redis_replica', 'the address leads to a replica')
      this.leaveServer()
      return
    }
    if (problem === undefined) this.health.succeeded('identify')
    else this.health.failedFor('identify', problem.reason, problem.message)
    const isFirst = this.master === undefined
    this.master = identity
    this.timer = setTimeout(() => {
      this.identify()
      this.subscriber.checkAlive()
    }, IDENTIFY_INTERVAL_MS)
    if (isFirst || this.isSubscriberUp) this.resumeOrPauseQueue()
  }

  private notIdentified(error: unknown): void {
    this.health.failed('identify', error)
    // Without an answer the connection is lost, and will be made anew.
    if (isRefusal(error)) this.leaveServer()
  }

  /** Makes both connections anew, a moment later: the address may lead to another server then. */
  private leaveServer(): void {
    this.master = undefined
    this.queue.pause()
    this.timer = setTimeout(() => {
      this.commands.disconnect(true)
      this.subscriptions.disconnect(true)
    }, RETRY_MS)
  }

  /** A queue that resumes before its node's subscriber would relay events that this node does not receive itself. */
  private resumeOrPauseQueue(): void {
    if (this.isUp && this.isSubscriberUp && this.master !== undefined) this.queue.resume(this.master)
    else this.queue.pause()
    this.noteState()
  }

  private noteState(): void {
    if (this.isUp && this.isSubscriberUp) this.downSinceMs = undefined
    else this.downSinceMs ??= performance.now()
  }
}
