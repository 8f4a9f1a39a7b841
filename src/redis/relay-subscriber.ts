import type { Redis } from 'ioredis'
import { chunks } from '../chunks.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import { setDeadline } from './deadline.js'
import { isRefusal } from './redis-errors.js'
import type { RedisHealth } from './redis-health.js'
import { MalformedMessage } from './relay-message.js'

/** Time after which a caller that waits for a SUBSCRIBE is refused. */
const SUBSCRIBE_DEADLINE_MS = 1_500
/** Names in one SUBSCRIBE. */
const SUBSCRIBE_BATCH = 1_000
/** Time between attempts to subscribe that Redis refused. */
const RETRY_MS = 1_000

/** Receives a message, whose bytes are valid until the call returns. May throw MalformedMessage. */
export type MessageHandler = (message: Buffer) => void

/** A Redis channel that this node is to be subscribed to. */
interface RelaySubscription {
  readonly onMessage: MessageHandler
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

  constructor(
    private readonly redis: Redis,
    private readonly log: Logger,
    private readonly metrics: Metrics,
    private readonly health: RedisHealth,
    /** Called when everything is subscribed (again), and when the connection is lost. */
    private readonly onStateChange: (isUp: boolean) => void,
  ) {
    redis.on('ready', () => void this.resubscribeAll())
    redis.on('close', () => this.connectionLost())
    redis.on('messageBuffer', (redisChannel: Buffer, message: Buffer) => this.receive(redisChannel, message))
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
          this.dropIfUnused(redisChannel, subscription)
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
    if (this.redis.status === 'ready') this.redis.unsubscribe(redisChannel).catch(() => undefined)
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
    const names = this.pendingNames
    this.pendingNames = []
    // Its failure shows in RedisHealth, and to those who wait for it.
    if (this.isUp) this.subscribeInBatches(names).catch(() => undefined)
  }

  /** Sends all batches at once: a round trip for each would add up. */
  private async subscribeInBatches(names: readonly string[]): Promise<void> {
    await Promise.all(chunks(names, SUBSCRIBE_BATCH).map((batch) => this.subscribeBatch(batch)))
  }

  private async subscribeBatch(names: readonly string[]): Promise<void> {
    const sentFor = names.map((name) => this.subscriptions.get(name))
    try {
      await this.redis.subscribe(...names)
    } catch (error) {
      // After any other failure, such as a lost connection, it is sent again once Redis is back.
      this.health.failed('subscribe', error)
      if (isRefusal(error)) for (const subscription of sentFor) refuse(subscription, error)
      throw error
    }
    this.lastReceivedMs = performance.now()
    this.health.succeeded('subscribe')
    for (const [index, name] of names.entries()) {
      const subscription = this.subscriptions.get(name)
      // One that was unsubscribed and subscribed again meanwhile has a SUBSCRIBE of its own under way.
      if (subscription !== undefined && subscription === sentFor[index]) confirm(subscription)
    }
  }

  /** Runs on every new connection. The subscriber is up only when every channel is subscribed. */
  private async resubscribeAll(): Promise<void> {
    this.lastReceivedMs = performance.now()
    const attempt = ++this.attempt
    try {
      await this.subscribeInBatches([...this.subscriptions.keys()])
    } catch {
      if (attempt !== this.attempt) return
      // Redis refused, because of an ACL for example, which can be changed. A lost connection resubscribes when it is back.
      setTimeout(() => {
        if (attempt === this.attempt && this.redis.status === 'ready') void this.resubscribeAll()
      }, RETRY_MS)
      return
    }
    if (attempt !== this.attempt) return
    this.isUp = true
    const added = [...this.subscriptions].filter(([, { isConfirmed }]) => !isConfirmed)
    for (const [name] of added) this.scheduleSubscribe(name)
    this.onStateChange(true)
  }

  private connectionLost(): void {
    this.attempt++
    this.isUp = false
    for (const subscription of this.subscriptions.values()) subscription.isConfirmed = false
    this.onStateChange(false)
  }

  private receive(redisChannel: Buffer, message: Buffer): void {
    this.lastReceivedMs = performance.now()
    const subscription = this.subscriptions.get(redisChannel.toString('latin1'))
    if (subscription === undefined) return
    try {
      subscription.onMessage(message)
    } catch (error) {
      if (error instanceof MalformedMessage) this.metrics.relayMalformed.inc()
      // Thrown on, it would surface in the connection's data handler and end the process.
      else this.log.error({ err: error }, 'a relay message could not be delivered')
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
