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
  /** Who waits for the confirmation. */
  waiters: (() => void)[]
}

/** Keeps a set of Redis channels subscribed, over every loss of the connection. */
export class RelaySubscriber {
  private readonly interests = new Map<string, Interest>()
  private unsaid: string[] = []
  private isUp = false
  /** Tells the current round of subscribing from one that a lost connection has ended. */
  private attempt = 0
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

  /** Resolves when Redis confirmed the subscription; rejects within 2 s and forgets it otherwise. */
  subscribe(redisChannel: string, listener: EntryListener): Promise<void> {
    const known = this.interests.get(redisChannel)
    if (known?.isConfirmed === true) return Promise.resolve()
    const interest: Interest = known ?? { listener, isConfirmed: false, waiters: [] }
    this.interests.set(redisChannel, interest)
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        if (this.interests.get(redisChannel) === interest) this.unsubscribe(redisChannel)
        reject(new RelayError('unavailable', 'Redis cannot be reached'))
      }, SUBSCRIBE_DEADLINE_MS)
      interest.waiters.push(() => {
        clearTimeout(deadline)
        resolve()
      })
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
    this.log.warn({ error: message }, 'could not subscribe in Redis')
  }

  private async say(names: readonly string[]): Promise<void> {
    const saidTo = names.map((name) => this.interests.get(name))
    await this.redis.subscribe(...names)
    this.lastProgressMs = performance.now()
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
  for (const resolve of interest.waiters) resolve()
  interest.waiters = []
}
