import type { Redis } from 'ioredis'
import { chunks } from '../chunks.js'
import { groupBy } from '../group-by.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import { setDeadline } from './deadline.js'
import { slotOf } from './key-slot.js'
import { isRedirection, isRefusal } from './redis-errors.js'
import type { RedisHealth } from './redis-health.js'
import { MalformedMessage } from './relay-message.js'

/** Time after which a caller that waits for a SUBSCRIBE is refused. */
const SUBSCRIBE_DEADLINE_MS = 1_500
/** Names in one SUBSCRIBE, and SUBSCRIBEs that are sent before the first is answered: so many that other work has its turn. */
const SUBSCRIBE_BATCH = 500
const SUBSCRIBES_AT_ONCE = 8
/** Time between attempts to subscribe that Redis refused. */
const RETRY_MS = 1_000
/** Time between attempts to subscribe to what is in a slot that moves. */
const MOVED_RETRY_MS = 100
/** Time without a message after which Redis is asked for a sign of life, and time that it has to give one. */
const QUIET_MS = 1_000
const PONG_DEADLINE_MS = 2_000

/** Receives a message, whose bytes are valid until the call returns. May throw MalformedMessage. */
export type MessageHandler = (message: Buffer) => void

/** A Redis channel that this node is to be subscribed to. */
interface RelaySubscription {
  readonly onMessage: MessageHandler
  /** The subscriber that has it: another one adopts it when its slot moves. */
  owner: RelaySubscriber
  isConfirmed: boolean
  /** Whether `subscribe` has resolved for a caller. It then stays until `unsubscribe`, over every lost connection. */
  isRetained: boolean
  /** Callers that wait for the confirmation. */
  readonly waiters: Set<Waiter>
}

/** One of the two is called, once, before the deadline. */
interface Waiter {
  readonly confirm: () => void
  readonly refuse: (why: string, cause?: Error) => void
}

/** Subscriptions, by Redis channel. */
export type ReleasedSubscriptions = readonly (readonly [
  redisChannel: string,
  subscription: RelaySubscription,
])[]

export interface RelaySubscriberOptions {
  readonly redis: Redis
  /** Whether Redis channels belong to slots, as in a Redis Cluster. */
  readonly isSharded: boolean
  readonly log: Logger
  readonly metrics: Metrics
  readonly health: RedisHealth
  /** Called when everything is subscribed (again), and when the connection is lost. */
  readonly onStateChange: (isUp: boolean) => void
  /** Called with Redis channels that are subscribed again after an interruption, and some that are for the first time. */
  readonly onResumed: (redisChannels: readonly string[]) => void
  /** Called when Redis has ended subscriptions, or has not taken them, since another server has their slot. */
  readonly onRedirected: (error: Error | undefined) => void
}

/** Keeps a set of Redis channels subscribed, over every loss of the connection. */
export class RelaySubscriber {
  private readonly subscriptions = new Map<string, RelaySubscription>()
  /** Names for the next SUBSCRIBE. */
  private pendingNames: string[] = []
  private isUp = false
  /** Distinguishes the current resubscription from one that a lost connection has ended. */
  private attempt = 0
  /** When Redis last sent anything on this connection. */
  private lastReceivedMs = 0
  private isAwaitingPong = false
  private endedTimer: NodeJS.Timeout | undefined
  private isClosed = false

  constructor(private readonly options: RelaySubscriberOptions) {
    const { redis, isSharded } = options
    redis.on('ready', () => void this.resubscribeAll())
    redis.on('close', () => this.connectionLost())
    const event = isSharded ? 'smessageBuffer' : 'messageBuffer'
    redis.on(event, (redisChannel: Buffer, message: Buffer) => this.receive(redisChannel, message))
    redis.on('moved', () => this.subscriptionsEnded())
  }

  /**
   * Resolves when Redis confirmed the subscription. Rejects with a BrokerError within 2 s otherwise, sooner when Redis
   * refuses. A subscription for which no call has resolved, and none waits, is dropped.
   */
  subscribe(redisChannel: string, onMessage: MessageHandler): Promise<void> {
    const known = this.subscriptions.get(redisChannel)
    if (known?.isConfirmed === true) return Promise.resolve()
    const subscription: RelaySubscription = known ?? {
      onMessage,
      owner: this,
      isConfirmed: false,
      isRetained: false,
      waiters: new Set(),
    }
    this.subscriptions.set(redisChannel, subscription)
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        confirm: () => {
          cancelDeadline()
          resolve()
        },
        refuse: (why, cause) => {
          cancelDeadline()
          subscription.waiters.delete(waiter)
          subscription.owner.dropIfUnused(redisChannel, subscription)
          reject(new BrokerError('unavailable', why, { cause }))
        },
      }
      const cancelDeadline = setDeadline(SUBSCRIBE_DEADLINE_MS, () =>
        waiter.refuse('Redis cannot be reached'),
      )
      subscription.waiters.add(waiter)
      if (known === undefined) this.scheduleSubscribe(redisChannel)
    })
  }

  /** Milliseconds since Redis last sent a message, or confirmed subscriptions. */
  get silenceMs(): number {
    return performance.now() - this.lastReceivedMs
  }

  unsubscribe(redisChannel: string): void {
    if (!this.subscriptions.delete(redisChannel)) return
    // A lost connection has no subscriptions left, and resubscribing leaves this one out.
    const { redis, isSharded } = this.options
    if (redis.status !== 'ready') return
    const unsubscribed = isSharded ? redis.sunsubscribe(redisChannel) : redis.unsubscribe(redisChannel)
    unsubscribed.catch(() => undefined)
  }

  /** Removes some subscriptions, and returns them for another subscriber to adopt: their slots have moved. */
  release(isReleased: (redisChannel: string) => boolean): ReleasedSubscriptions {
    const released = [...this.subscriptions].filter(([redisChannel]) => isReleased(redisChannel))
    for (const [redisChannel, subscription] of released) {
      this.subscriptions.delete(redisChannel)
      subscription.isConfirmed = false
    }
    return released
  }

  /** Takes over subscriptions that another subscriber has released, with the callers that wait for them. */
  adopt(released: ReleasedSubscriptions): void {
    for (const [redisChannel, subscription] of released) {
      subscription.owner = this
      this.subscriptions.set(redisChannel, subscription)
    }
    if (this.isUp) void this.resubscribe(released.map(([redisChannel]) => redisChannel))
  }

  /** Asks Redis for a sign of life, if it has been quiet, and makes the connection anew if there is none. */
  checkAlive(): void {
    const { redis } = this.options
    if (redis.status !== 'ready') return
    if (!this.isUp) {
      // It owes an answer to the subscriptions.
      if (this.silenceMs > PONG_DEADLINE_MS) redis.disconnect(true)
      return
    }
    if (this.isAwaitingPong || this.silenceMs < QUIET_MS) return
    const { attempt } = this
    this.isAwaitingPong = true
    const cancelDeadline = setDeadline(PONG_DEADLINE_MS, () => {
      if (attempt === this.attempt) redis.disconnect(true)
    })
    redis
      .ping()
      .then(() => {
        if (attempt === this.attempt) this.lastReceivedMs = performance.now()
      })
      // Any answer is a sign of life, and a lost connection is made anew.
      .catch(() => undefined)
      .finally(() => {
        cancelDeadline()
        this.isAwaitingPong = false
      })
  }

  close(): void {
    this.isClosed = true
    clearTimeout(this.endedTimer)
    this.options.redis.disconnect()
  }

  private dropIfUnused(redisChannel: string, subscription: RelaySubscription): void {
    if (subscription.waiters.size > 0 || subscription.isRetained) return
    if (this.subscriptions.get(redisChannel) === subscription) this.unsubscribe(redisChannel)
  }

  /** SUBSCRIBEs of one loop iteration leave together. */
  private scheduleSubscribe(redisChannel: string): void {
    if (!this.isUp) return
    if (this.pendingNames.length === 0) setImmediate(() => this.subscribePending())
    this.pendingNames.push(redisChannel)
  }

  private subscribePending(): void {
    const names = this.pendingNames.filter((name) => this.subscriptions.has(name))
    this.pendingNames = []
    // Its failure shows in RedisHealth, and to those who wait for it.
    if (this.isUp) this.subscribeInBatches(names).catch(() => undefined)
  }

  /**
   * Subscribes to names, some at once: a round trip for each batch would add up.
   * @param onSubscribed called with each batch when it is subscribed
   */
  private async subscribeInBatches(
    names: readonly string[],
    onSubscribed: (batch: readonly string[]) => void = () => undefined,
  ): Promise<void> {
    // Redis Cluster takes the Redis channels of one slot in one command.
    const groups = this.options.isSharded ? [...groupBy(names, slotOf).values()] : [names]
    const batches = groups.flatMap((some) => chunks(some, SUBSCRIBE_BATCH)).values()
    const subscribeNext = async (): Promise<void> => {
      for (const batch of batches) if (await this.subscribeBatch(batch)) onSubscribed(batch)
    }
    await Promise.all(Array.from({ length: SUBSCRIBES_AT_ONCE }, subscribeNext))
  }

  /** Resolves with false where another server has the slot: then it is tried again, here or there. */
  private async subscribeBatch(names: readonly string[]): Promise<boolean> {
    const { redis, isSharded, health, onRedirected } = this.options
    const sentFor = names.map((name) => this.subscriptions.get(name))
    try {
      await (isSharded ? redis.ssubscribe(...names) : redis.subscribe(...names))
    } catch (error) {
      if (isSharded && isRedirection(error)) {
        this.retryLater(names, MOVED_RETRY_MS)
        onRedirected(error)
        return false
      }
      // After any other failure, such as a lost connection, it is sent again once Redis is back.
      if (isRefusal(error)) this.lastReceivedMs = performance.now()
      health.failed('subscribe', error)
      if (isRefusal(error)) for (const subscription of sentFor) refuse(subscription, error)
      throw error
    }
    this.lastReceivedMs = performance.now()
    health.succeeded('subscribe')
    for (const [index, name] of names.entries()) {
      const subscription = this.subscriptions.get(name)
      // One that was unsubscribed and subscribed again meanwhile has a SUBSCRIBE of its own under way.
      if (subscription !== undefined && subscription === sentFor[index]) confirm(subscription)
    }
    return true
  }

  /** Until this subscriber is up, `resubscribeAll` subscribes what is missing. */
  private retryLater(names: readonly string[], delayMs: number): void {
    const { attempt } = this
    setTimeout(() => {
      if (attempt !== this.attempt || !this.isUp) return
      void this.resubscribe(names.filter((name) => this.subscriptions.get(name)?.isConfirmed === false))
    }, delayMs)
  }

  /** Subscribes again to what may have been published to meanwhile. Its failure shows in RedisHealth. */
  private async resubscribe(names: readonly string[]): Promise<void> {
    try {
      await this.subscribeInBatches(names, this.options.onResumed)
    } catch (error) {
      if (isRefusal(error)) this.retryLater(names, RETRY_MS)
    }
  }

  /** Redis has ended some subscriptions, without a word of which ones, since their slots have moved. */
  private subscriptionsEnded(): void {
    this.options.onRedirected(undefined)
    // By then, those that have moved are another subscriber's. More of them may end one by one.
    clearTimeout(this.endedTimer)
    this.endedTimer = setTimeout(() => void this.findEnded(), RETRY_MS)
  }

  /** Redis tells how many subscriptions it has whenever one is made: where it has fewer than this side, all are made anew. */
  private async findEnded(): Promise<void> {
    const { redis } = this.options
    const names = [...this.subscriptions.keys()]
    const [first] = names
    if (first === undefined || !this.isUp) return
    try {
      const { size } = this.subscriptions
      if ((await redis.ssubscribe(first)) === size) return
    } catch {
      // As below: it is not known which ones there are.
    }
    for (const subscription of this.subscriptions.values()) subscription.isConfirmed = false
    await this.resubscribe(names)
  }

  /** Runs on every new connection. The subscriber is up only when every channel is subscribed. */
  private async resubscribeAll(): Promise<void> {
    this.lastReceivedMs = performance.now()
    const attempt = ++this.attempt
    try {
      await this.subscribeInBatches([...this.subscriptions.keys()], this.options.onResumed)
    } catch {
      if (attempt !== this.attempt) return
      // Redis refused, because of an ACL for example, which can be changed. A lost connection resubscribes when it is back.
      setTimeout(() => {
        if (attempt === this.attempt && this.options.redis.status === 'ready') void this.resubscribeAll()
      }, RETRY_MS)
      return
    }
    if (attempt !== this.attempt) return
    this.isUp = true
    this.options.onStateChange(true)
    const added = [...this.subscriptions].filter(([, { isConfirmed }]) => !isConfirmed)
    if (added.length > 0) void this.resubscribe(added.map(([name]) => name))
  }

  private connectionLost(): void {
    this.attempt++
    this.isUp = false
    for (const subscription of this.subscriptions.values()) subscription.isConfirmed = false
    if (!this.isClosed) this.options.onStateChange(false)
  }

  private receive(redisChannel: Buffer, message: Buffer): void {
    this.lastReceivedMs = performance.now()
    const subscription = this.subscriptions.get(redisChannel.toString('latin1'))
    if (subscription === undefined) return
    try {
      subscription.onMessage(message)
    } catch (error) {
      if (error instanceof MalformedMessage) this.options.metrics.relayMalformed.inc()
      // Thrown on, it would surface in the connection's data handler and end the process.
      else this.options.log.error({ err: error }, 'a relay message could not be delivered')
    }
  }
}

function confirm(subscription: RelaySubscription): void {
  subscription.isConfirmed = true
  subscription.isRetained ||= subscription.waiters.size > 0
  for (const waiter of subscription.waiters) waiter.confirm()
  subscription.waiters.clear()
}

/** Refuses all waiters at once, who need not wait for the deadline. */
function refuse(subscription: RelaySubscription | undefined, error: Error): void {
  for (const waiter of subscription?.waiters ?? []) {
    waiter.refuse(`Redis refused the subscription: ${error.message}`, error)
  }
}
