import type { Redis } from 'ioredis'
import type { Metrics } from '../metrics/metrics.js'
import { encodeMessage, type StreamPosition } from './envelope.js'
import { costOf, type PackedMessage, type PendingEntry, pack } from './relay-packing.js'
import { isUnknownScript } from './script.js'
import { addPublishingCall, type EntryHandling, firstPosition } from './stream-calls.js'

/** After which an entry that waits, or a batch that is not answered, is given up: callers are promised an answer within 2 s. */
const DEADLINE_MS = 1_250
/** Between two looks at deadlines, at the least. */
const DEADLINE_CHECK_MS = 250
/** A timer that is later than this was kept by a stall of this process. */
const STALL_MS = 50
/** Timers count from the beginning of the loop's iteration, and would come a moment before what they are for. */
const TIMER_SLACK_MS = 5
/** Messages in one pipeline; the rest waits for the next. */
const MAX_BATCH_MESSAGES = 10_000

const STOPPING = 'the node is stopping'

export type RelayFailure = 'unavailable' | 'timeout' | 'overloaded'

export class RelayError extends Error {
  constructor(
    readonly reason: RelayFailure,
    message: string,
  ) {
    super(message)
  }
}

type Answer = readonly [error: Error | null, reply?: unknown]

interface Batch {
  readonly messages: readonly PackedMessage[]
  readonly deadlineMs: number
}

/**
 * Publishes entries, packed by what is going on: an entry leaves at the end of the loop iteration if nothing is in
 * flight; what arrives meanwhile waits and leaves together, one PUBLISH a channel, one pipeline for all. An idle node
 * pays no latency and a busy one sends far fewer messages. What is kept in a stream, too, leaves by one script call a
 * channel.
 */
export class RelayPublisher {
  private readonly waiting = new Map<string, PendingEntry[]>()
  /** Of what waits and what is in flight. */
  private queuedBytes = 0
  private inFlight: Batch | undefined
  private isFlushScheduled = false
  private isOpen = false
  private masterId = ''
  private isClosed = false
  /** Runs until the deadline of what was oldest when it was set: it wakes a busy process less than once a second. */
  private deadlineTimer: NodeJS.Timeout | undefined
  private nextCheckMs = 0
  private isGraceGiven = false

  constructor(
    private readonly redis: Redis,
    /** Bytes that may wait; further entries are refused. */
    private readonly maxQueuedBytes: number,
    private readonly metrics: Metrics,
  ) {}

  /**
   * Lets entries out, to the master with this replication id. Until then, and after `pause`, they wait for their
   * deadline.
   */
  resume(masterId: string): void {
    this.isOpen = true
    this.masterId = masterId
    this.scheduleFlush()
  }

  pause(): void {
    this.isOpen = false
  }

  /**
   * Resolves when Redis has taken the entry, with its place if it is in a stream. Entries of one Redis channel go to one
   * stream.
   */
  publish(
    redisChannel: string,
    entry: Buffer,
    handling?: EntryHandling,
    isControl = false,
  ): Promise<StreamPosition | undefined> {
    if (this.isClosed) return Promise.reject(new RelayError('unavailable', STOPPING))
    const cost = costOf({ entry, handling })
    if (this.queuedBytes + cost > this.maxQueuedBytes) {
      const message = `${this.queuedBytes} bytes wait for Redis already, the limit is ${this.maxQueuedBytes}`
      return Promise.reject(new RelayError('overloaded', message))
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = performance.now() + DEADLINE_MS
      const pending = { entry, handling, isControl, deadlineMs, resolve, reject }
      const sameChannel = this.waiting.get(redisChannel)
      if (sameChannel === undefined) this.waiting.set(redisChannel, [pending])
      else sameChannel.push(pending)
      this.addQueuedBytes(cost)
      if (this.deadlineTimer === undefined) this.checkDeadlinesIn(DEADLINE_MS)
      this.scheduleFlush()
    })
  }

  /** Gives up everything. */
  close(): void {
    this.pause()
    this.isClosed = true
    clearTimeout(this.deadlineTimer)
    this.deadlineTimer = undefined
    this.rejectWaiting(Number.POSITIVE_INFINITY, STOPPING)
  }

  /** The connection is gone, and with it the answer to what was in flight: nobody else would settle it. */
  connectionLost(): void {
    this.pause()
    if (this.inFlight === undefined) return
    this.rejectInFlight(this.inFlight, 'the connection to Redis was lost; it may have been published or not')
  }

  private addQueuedBytes(bytes: number): void {
    this.queuedBytes += bytes
    this.metrics.relayQueueBytes.value = this.queuedBytes
  }

  /** Tells a publisher what became of its entry, once. */
  private confirm(pending: PendingEntry, position: StreamPosition | undefined): void {
    this.addQueuedBytes(-costOf(pending))
    pending.resolve(position)
  }

  private refuse(pending: PendingEntry, error: RelayError): void {
    this.addQueuedBytes(-costOf(pending))
    pending.reject(error)
  }

  private scheduleFlush(): void {
    if (this.isFlushScheduled || !this.isOpen || this.inFlight !== undefined || this.waiting.size === 0)
      return
    this.isFlushScheduled = true
    // Not at once: what other sockets say in this iteration belongs in the same batch.
    setImmediate(() => {
      this.isFlushScheduled = false
      this.flush()
    })
  }

  private flush(): void {
    if (!this.isOpen || this.inFlight !== undefined || this.waiting.size === 0) return
    const messages: PackedMessage[] = []
    let deadlineMs = Number.POSITIVE_INFINITY
    for (const [redisChannel, pending] of this.waiting) {
      if (messages.length >= MAX_BATCH_MESSAGES) break
      messages.push(...pack(redisChannel, pending))
      // Entries of a channel wait in the order in which they came, so the first is the one that waited longest.
      deadlineMs = Math.min(deadlineMs, pending[0]?.deadlineMs ?? deadlineMs)
      this.waiting.delete(redisChannel)
    }
    const batch = { messages, deadlineMs }
    this.inFlight = batch
    void this.send(batch)
  }

  private async send(batch: Batch): Promise<void> {
    const { messages } = batch
    for (const { entries } of messages) {
      const events = entries.filter(({ isControl }) => !isControl).length
      if (events > 0) this.metrics.relayBatchSize.observe(events)
    }
    const answers = await this.run(messages, (message) => message.isFollowed)
    const unknown = messages.filter((_, index) => isUnknownScript(answers[index]?.[0]))
    if (unknown.length > 0 && this.inFlight === batch) {
      const again = (await this.run(unknown, () => true)).values()
      for (const [index, [error]] of answers.entries()) {
        if (isUnknownScript(error)) answers[index] = again.next().value ?? [error]
      }
    }
    // Given up meanwhile: its publishers have been told.
    if (this.inFlight !== batch) return
    this.inFlight = undefined
    for (const [index, message] of messages.entries()) this.answer(message, answers[index])
    this.scheduleFlush()
  }

  /**
   * One pipeline for all. Scripts go by their digest, which Redis may not know after a restart; those that are then sent
   * again come behind the rest of the batch. So in a channel of which more comes in the batch they go in full.
   */
  private async run(
    messages: readonly PackedMessage[],
    isInFull: (message: PackedMessage) => boolean,
  ): Promise<Answer[]> {
    const [only] = messages
    if (only !== undefined && messages.length === 1 && only.handling === undefined)
      return [await this.publishOnly(only)]
    const pipeline = this.redis.pipeline()
    for (const message of messages) {
      const { redisChannel, handling } = message
      const entries = message.entries.map(({ entry }) => entry)
      if (handling === undefined) pipeline.publish(redisChannel, encodeMessage(entries))
      else {
        addPublishingCall(pipeline, {
          ...handling,
          redisChannel,
          entries,
          masterId: this.masterId,
          isInFull: isInFull(message),
        })
      }
    }
    try {
      return (await pipeline.exec()) ?? []
    } catch (error) {
      return messages.map(() => [error as Error])
    }
  }

  /** One message, as a quiet node sends it, needs no pipeline and what it allocates. */
  private async publishOnly({ redisChannel, entries }: PackedMessage): Promise<Answer> {
    try {
      const message = encodeMessage(entries.map(({ entry }) => entry))
      return [null, await this.redis.publish(redisChannel, message)]
    } catch (error) {
      return [error as Error]
    }
  }

  private answer({ handling, entries }: PackedMessage, answer: Answer | undefined): void {
    const [error, reply] = answer ?? [new Error('no answer')]
    if (error !== null) {
      const refusal = new RelayError('unavailable', `Redis did not take it: ${error.message}`)
      for (const pending of entries) this.refuse(pending, refusal)
      return
    }
    const first = handling === undefined ? undefined : firstPosition(reply)
    for (const [index, pending] of entries.entries()) {
      this.confirm(pending, first && { epoch: first.epoch, offset: first.offset + index })
    }
  }

  private checkDeadlinesIn(delayMs: number): void {
    const timerMs = delayMs + TIMER_SLACK_MS
    this.nextCheckMs = performance.now() + timerMs
    // At the end of that iteration: by then the answers are read that came while this process was busy.
    this.deadlineTimer = setTimeout(() => setImmediate(() => this.checkDeadlines()), timerMs)
  }

  private checkDeadlines(): void {
    if (this.isClosed) return
    this.deadlineTimer = undefined
    const nowMs = performance.now()
    const isLate = nowMs - this.nextCheckMs > STALL_MS
    const isOverdue = (this.earliestDeadlineMs() ?? Number.POSITIVE_INFINITY) <= nowMs
    // While this process stood still Redis could not be heard, so everything gets until the next check, but only once.
    this.isGraceGiven = isOverdue && isLate && !this.isGraceGiven
    if (!this.isGraceGiven) this.giveUpOverdue(nowMs)
    const earliestMs = this.earliestDeadlineMs()
    if (earliestMs !== undefined) this.checkDeadlinesIn(Math.max(DEADLINE_CHECK_MS, earliestMs - nowMs))
  }

  private giveUpOverdue(nowMs: number): void {
    if (this.inFlight !== undefined && this.inFlight.deadlineMs <= nowMs) this.giveUpInFlight(this.inFlight)
    this.rejectWaiting(nowMs, 'Redis cannot be reached')
  }

  /** Of all that is in flight or waits. */
  private earliestDeadlineMs(): number | undefined {
    let earliestMs = this.inFlight?.deadlineMs ?? Number.POSITIVE_INFINITY
    for (const [first] of this.waiting.values())
      earliestMs = Math.min(earliestMs, first?.deadlineMs ?? earliestMs)
    return earliestMs === Number.POSITIVE_INFINITY ? undefined : earliestMs
  }

  /** Whether Redis took the batch can't be known any more. A new connection keeps its late answer from confirming others. */
  private giveUpInFlight(batch: Batch): void {
    this.pause()
    this.rejectInFlight(batch, 'Redis did not answer in time; it may have been published or not')
    this.redis.disconnect(true)
  }

  private rejectInFlight({ messages }: Batch, why: string): void {
    this.inFlight = undefined
    const error = new RelayError('timeout', why)
    for (const { entries } of messages) for (const pending of entries) this.refuse(pending, error)
  }

  private rejectWaiting(nowMs: number, why: string): void {
    for (const [redisChannel, pending] of this.waiting) {
      const rest = pending.filter(({ deadlineMs }) => deadlineMs > nowMs)
      for (const late of pending.slice(0, pending.length - rest.length)) {
        this.refuse(late, new RelayError('unavailable', why))
      }
      if (rest.length === 0) this.waiting.delete(redisChannel)
      else this.waiting.set(redisChannel, rest)
    }
  }
}
