import type { Redis } from 'ioredis'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import {
  decodeMessage,
  type Entry,
  MalformedMessage,
  type RelayMessage,
  type StreamPosition,
} from './envelope.js'
import { RelayError } from './relay-publisher.js'

/** After which somebody who waits for a SUBSCRIBE is told that it failed. */
const SUBSCRIBE_DEADLINE_MS = 1_500
/** Names in one SUBSCRIBE. */
const SUBSCRIBE_BATCH = 1_000
/** Between attempts to subscribe that Redis refused. */
const RETRY_MS = 1_000

/**
 * Receives the entries of one message, and the position of the first where they are in a stream. Payloads live until
 * the call returns.
 */
export type EntryListener = (entries: readonly Entry[], position: StreamPosition | undefined) => void

interface Interest {
  readonly listener: EntryListener
  isConfirmed: boolean
  /** Whether somebody was promised it: it is then kept until it is unsubscribed, whatever becomes of the connection. */
  isPromised: boolean
  /** Who waits for the confirmation. */
  readonly waiters: Set<Waiter>
}

/** Each is called once, and before its deadline. */
interface Waiter {
  readonly confirmed: () => void
  readonly refused: (why: string) => void
}

/** Keeps a set of Redis channels subscribed, over every loss of the connection. */
export class RelaySubscriber {
  private readonly interests = new Map<string, Interest>()
  private unsaid: string[] = []
  private isUp = false
  /** Tells the current round of subscribing from one that a lost connection has ended. */
  private attempt = 0
  /** What went wrong since the last success, as logged: a refusal that lasts is said once. */
  private lastWarning: string | undefined
  /** When Redis last said anything. */
  private lastProgressMs = 0

  constructor(
    private readonly redis: Redis,
    private readonly log: Logger,
    private readonly metrics: Metrics,
    /** Called when everything is subscribed (again), and when the connection is lost. */
    private readonly changed: (isUp: boolean) => void,
  ) {
    redis.on('ready', () => void this.sayAll())
    redis.on('close', () => this.lost())
    redis.on('messageBuffer', (redisChannel: Buffer, message: Buffer) => this.receive(redisChannel, message))
  }

  /**
   * Resolves when Redis confirmed the subscription; rejects with a RelayError within 2 s otherwise, sooner when Redis
   * refuses. It is forgotten when nobody waits for it any more and nobody was promised it.
   */
  subscribe(redisChannel: string, listener: EntryListener): Promise<void> {
    const known = this.interests.get(redisChannel)
    if (known?.isConfirmed === true) return Promise.resolve()
    const interest: Interest = known ?? {
      listener,
      isConfirmed: false,
      isPromised: false,
      waiters: new Set(),
    }
    this.interests.set(redisChannel, interest)
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        confirmed: () => {
          clearTimeout(deadline)
          resolve()
        },
        refused: (why) => {
          clearTimeout(deadline)
          interest.waiters.delete(waiter)
          this.forgetUnwanted(redisChannel, interest)
          reject(new RelayError('unavailable', why))
        },
      }
      const deadline = setTimeout(() => waiter.refused('Redis cannot be reached'), SUBSCRIBE_DEADLINE_MS)
      interest.waiters.add(waiter)
      if (known === undefined) this.saySoon(redisChannel)
    })
  }

  /** How long Redis has said nothing: no message, and no progress with subscribing. */
  get silenceMs(): number {
    return performance.now() - this.lastProgressMs
  }

  unsubscribe(redisChannel: string): void {
    const interest = this.interests.get(redisChannel)
    if (interest === undefined) return
    this.interests.delete(redisChannel)
    // A lost connection has forgotten it already.
    if (this.redis.status === 'ready') this.redis.unsubscribe(redisChannel).catch(() => undefined)
  }

  private forgetUnwanted(redisChannel: string, interest: Interest): void {
    if (interest.waiters.size > 0 || interest.isPromised) return
    if (this.interests.get(redisChannel) === interest) this.unsubscribe(redisChannel)
  }

  /** SUBSCRIBEs of one loop iteration go out together. */
  private saySoon(redisChannel: string): void {
    if (!this.isUp) return
    if (this.unsaid.length === 0) setImmediate(() => this.sayUnsaid())
    this.unsaid.push(redisChannel)
  }

  private sayUnsaid(): void {
    const names = this.unsaid
    this.unsaid = []
    if (this.isUp) this.sayInBatches(names).catch((error: unknown) => this.warn(error))
  }

  /** All on their way at once: a round trip for each batch would add up. */
  private async sayInBatches(names: readonly string[]): Promise<void> {
    const batches: Promise<void>[] = []
    for (let start = 0; start < names.length; start += SUBSCRIBE_BATCH) {
      batches.push(this.say(names.slice(start, start + SUBSCRIBE_BATCH)))
    }
    await Promise.all(batches)
  }

  private warn(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    if (message === this.lastWarning) return
    this.lastWarning = message
    this.log.warn({ error: message }, 'could not subscribe in Redis')
  }

  private async say(names: readonly string[]): Promise<void> {
    const saidTo = names.map((name) => this.interests.get(name))
    try {
      await this.redis.subscribe(...names)
    } catch (error) {
      // After anything else, such as a lost connection, it is said again once Redis is back.
      if (isRefusal(error)) for (const interest of saidTo) refuse(interest, error)
      throw error
    }
    this.lastProgressMs = performance.now()
    this.lastWarning = undefined
    for (const [index, name] of names.entries()) {
      const interest = this.interests.get(name)
      // One that was unsubscribed and subscribed again meanwhile has a SUBSCRIBE of its own under way.
      if (interest !== undefined && interest === saidTo[index]) confirm(interest)
    }
  }

  /** After every (re)connect: nothing counts as up before all of it is subscribed. */
  private async sayAll(): Promise<void> {
    this.lastProgressMs = performance.now()
    const attempt = ++this.attempt
    try {
      await this.sayInBatches([...this.interests.keys()])
    } catch (error) {
      if (attempt !== this.attempt) return
      // Refused by an ACL, say, which somebody may mend. A lost connection starts over when it is ready again.
      this.warn(error)
      setTimeout(() => {
        if (attempt === this.attempt && this.redis.status === 'ready') void this.sayAll()
      }, RETRY_MS)
      return
    }
    if (attempt !== this.attempt) return
    this.isUp = true
    const late = [...this.interests].filter(([, interest]) => !interest.isConfirmed).map(([name]) => name)
    for (const name of late) this.saySoon(name)
    this.changed(true)
  }

  private lost(): void {
    this.attempt++
    this.isUp = false
    for (const interest of this.interests.values()) interest.isConfirmed = false
    this.changed(false)
  }

  private receive(redisChannel: Buffer, message: Buffer): void {
    this.lastProgressMs = performance.now()
    const interest = this.interests.get(redisChannel.toString('latin1'))
    if (interest === undefined) return
    let decoded: RelayMessage
    try {
      decoded = decodeMessage(message)
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.metrics.relayMalformed.inc()
      return
    }
    try {
      interest.listener(decoded.entries, decoded.position)
    } catch (error) {
      // It would surface in the connection's data handler and end the process.
      this.log.error({ err: error }, 'a relay message could not be delivered')
    }
  }
}

function confirm(interest: Interest): void {
  interest.isConfirmed = true
  interest.isPromised ||= interest.waiters.size > 0
  for (const waiter of interest.waiters) waiter.confirmed()
  interest.waiters.clear()
}

/** Whether Redis answered, and not as hoped. */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

/** As by an ACL: whoever waits need not wait for the deadline. */
function refuse(interest: Interest | undefined, { message }: Error): void {
  for (const waiter of interest?.waiters ?? []) waiter.refused(`Redis refused the subscription: ${message}`)
}
