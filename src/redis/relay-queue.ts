import type { Redis } from 'ioredis'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { StreamPosition } from '../protocol/publication.js'
import { type EntryStorage, memoryOf, type PackedMessage, type PendingEntry, pack } from './relay-batch.js'
import { encodeEntry, encodeMessage, type RelayEvent } from './relay-message.js'
import { isUnknownScript } from './script.js'
import { addRelayCommand, firstPosition } from './stream-scripts.js'

/** Time after which an entry or an unanswered batch is given up: publishers are promised an answer within 2 s. */
const DEADLINE_MS = 1_250
/** The least time between two checks of deadlines. */
const DEADLINE_CHECK_MS = 250
/** A timer that fires later than this was delayed by a stall of this process. */
const STALL_MS = 50
/** Timers count from the beginning of the loop iteration, and would fire just before the deadline that they are for. */
const TIMER_SLACK_MS = 5
/** Messages in one pipeline; further ones wait for the next. */
const MAX_BATCH_MESSAGES = 10_000

const STOPPING = 'the node is stopping'

type Reply = readonly [error: Error | null, reply?: unknown]

interface Batch {
  readonly messages: readonly PackedMessage[]
  readonly deadlineMs: number
}

/**
 * Relays events to Redis, batched by load: an event leaves at the end of the loop iteration if no batch is in flight;
 * events that arrive meanwhile wait and leave together, one message a channel and one pipeline for all. An idle node
 * adds no latency and a busy one sends far fewer messages. Entries that a stream keeps leave by one script call a
 * channel.
 */
export class RelayQueue {
  private readonly waiting = new Map<string, PendingEntry[]>()
  /** Memory of the entries that wait or are in flight. */
  private queuedBytes = 0
  private inFlight: Batch | undefined
  private isFlushScheduled = false
  private isOpen = false
  private masterId = ''
  private isClosed = false
  /** Fires at the deadline of the entry that was oldest when it was set: it wakes a busy process less than once a second. */
  private deadlineTimer: NodeJS.Timeout | undefined
  private nextCheckMs = 0
  private isGraceGiven = false

  constructor(
    private readonly redis: Redis,
    /** Bytes that may be queued; further events are refused as `overloaded`. */
    private readonly maxQueuedBytes: number,
    private readonly metrics: Metrics,
  ) {}

  /**
   * Lets events out, to the master with this replication id. Before the first call, and after `pause`, they wait until
   * their deadline.
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
   * Encodes an event at once and queues it. Resolves when Redis has taken it, with its position where a stream keeps it.
   * Entries of one Redis channel belong to one stream. Rejects with a BrokerError within 2 s.
   */
  relay(
    redisChannel: string,
    event: RelayEvent,
    storage?: EntryStorage,
  ): Promise<StreamPosition | undefined> {
    if (this.isClosed) return Promise.reject(new BrokerError('unavailable', STOPPING))
    const entry = encodeEntry(event)
    const memory = memoryOf({ entry, storage })
    if (this.queuedBytes + memory > this.maxQueuedBytes) {
      const message = `${this.queuedBytes} bytes wait for Redis already, the limit is ${this.maxQueuedBytes}`
      return Promise.reject(new BrokerError('overloaded', message))
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = performance.now() + DEADLINE_MS
      const isControl = event.type === 'control'
      const pending = { entry, storage, isControl, deadlineMs, resolve, reject }
      const sameChannel = this.waiting.get(redisChannel)
      if (sameChannel === undefined) this.waiting.set(redisChannel, [pending])
      else sameChannel.push(pending)
      this.addQueuedBytes(memory)
      if (this.deadlineTimer === undefined) this.scheduleDeadlineCheck(DEADLINE_MS)
      this.scheduleFlush()
    })
  }

  /** Rejects everything that waits, and every later event. */
  close(): void {
    this.pause()
    this.isClosed = true
    clearTimeout(this.deadlineTimer)
    this.deadlineTimer = undefined
    this.rejectWaiting(Number.POSITIVE_INFINITY, STOPPING)
  }

  /** The connection is lost, and with it the replies to the batch in flight, which no reply will settle any more. */
  connectionLost(): void {
    this.pause()
    if (this.inFlight === undefined) return
    this.rejectInFlight(this.inFlight, 'the connection to Redis was lost; it may have been published or not')
  }

  private addQueuedBytes(bytes: number): void {
    this.queuedBytes += bytes
    this.metrics.relayQueueBytes.value = this.queuedBytes
  }

  private resolve(pending: PendingEntry, position: StreamPosition | undefined): void {
    this.addQueuedBytes(-memoryOf(pending))
    pending.resolve(position)
  }

  private reject(pending: PendingEntry, error: BrokerError): void {
    this.addQueuedBytes(-memoryOf(pending))
    pending.reject(error)
  }

  private scheduleFlush(): void {
    if (this.isFlushScheduled || !this.isOpen || this.inFlight !== undefined || this.waiting.size === 0)
      return
    this.isFlushScheduled = true
    // Not at once: events that other sockets send in this iteration belong into the same batch.
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
      for (const message of pack(redisChannel, pending)) messages.push(message)
      // Entries of a channel wait in the order in which they came, so the first has the earliest deadline.
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
    const replies = await this.execute(messages, (message) => message.isFollowed)
    const unknown = messages.filter((_, index) => isUnknownScript(replies[index]?.[0]))
    if (unknown.length > 0 && this.inFlight === batch) {
      const repeated = (await this.execute(unknown, () => true)).values()
      for (const [index, [error]] of replies.entries()) {
        if (isUnknownScript(error)) replies[index] = repeated.next().value ?? [error]
      }
    }
    // The batch was given up meanwhile, and its publishers have their answer.
    if (this.inFlight !== batch) return
    this.inFlight = undefined
    for (const [index, message] of messages.entries()) this.settle(message, replies[index])
    this.scheduleFlush()
  }

  /**
   * Sends one pipeline for all messages. Scripts are sent by their digest, which Redis may not know after a restart; one
   * that has to be repeated comes behind the rest of the batch. So in a channel with further messages in the batch they
   * are sent in full, to keep their order.
   */
  private async execute(
    messages: readonly PackedMessage[],
    isInFull: (message: PackedMessage) => boolean,
  ): Promise<Reply[]> {
    const [only] = messages
    if (only !== undefined && messages.length === 1 && only.storage === undefined)
      return [await this.executeOne(only)]
    const pipeline = this.redis.pipeline()
    for (const message of messages) addRelayCommand(pipeline, message, this.masterId, isInFull(message))
    try {
      return (await pipeline.exec()) ?? []
    } catch (error) {
      return messages.map(() => [error as Error])
    }
  }

  /** One message, as a quiet node sends it, needs no pipeline and the memory that one takes. */
  private async executeOne({ redisChannel, entries }: PackedMessage): Promise<Reply> {
    try {
      const message = encodeMessage(entries.map(({ entry }) => entry))
      return [null, await this.redis.publish(redisChannel, message)]
    } catch (error) {
      return [error as Error]
    }
  }

  private settle({ storage, entries }: PackedMessage, reply: Reply | undefined): void {
    const [error, value] = reply ?? [new Error('no answer')]
    if (error !== null) {
      const refusal = new BrokerError('unavailable', `Redis did not take it: ${error.message}`, {
        cause: error,
      })
      for (const pending of entries) this.reject(pending, refusal)
      return
    }
    const first = storage === undefined ? undefined : firstPosition(value)
    for (const [index, pending] of entries.entries()) {
      this.resolve(pending, first && { epoch: first.epoch, offset: first.offset + index })
    }
  }

  private scheduleDeadlineCheck(delayMs: number): void {
    const timerMs = delayMs + TIMER_SLACK_MS
    this.nextCheckMs = performance.now() + timerMs
    // At the end of that iteration: by then the replies are read that arrived while this process was busy.
    this.deadlineTimer = setTimeout(() => setImmediate(() => this.checkDeadlines()), timerMs)
  }

  private checkDeadlines(): void {
    if (this.isClosed) return
    this.deadlineTimer = undefined
    const nowMs = performance.now()
    const isLate = nowMs - this.nextCheckMs > STALL_MS
    const isOverdue = (this.earliestDeadlineMs() ?? Number.POSITIVE_INFINITY) <= nowMs
    // While this process stalled it could not read from Redis, so everything gets until the next check, but only once.
    this.isGraceGiven = isOverdue && isLate && !this.isGraceGiven
    if (!this.isGraceGiven) this.giveUpOverdue(nowMs)
    const earliestMs = this.earliestDeadlineMs()
    if (earliestMs !== undefined) this.scheduleDeadlineCheck(Math.max(DEADLINE_CHECK_MS, earliestMs - nowMs))
  }

  private giveUpOverdue(nowMs: number): void {
    if (this.inFlight !== undefined && this.inFlight.deadlineMs <= nowMs) this.giveUpInFlight(this.inFlight)
    this.rejectWaiting(nowMs, 'Redis cannot be reached')
  }

  /** The earliest deadline of the entries that wait or are in flight. */
  private earliestDeadlineMs(): number | undefined {
    let earliestMs = this.inFlight?.deadlineMs ?? Number.POSITIVE_INFINITY
    for (const [first] of this.waiting.values())
      earliestMs = Math.min(earliestMs, first?.deadlineMs ?? earliestMs)
    return earliestMs === Number.POSITIVE_INFINITY ? undefined : earliestMs
  }

  /** Whether Redis took the batch is unknown. A new connection keeps its late reply from settling another batch. */
  private giveUpInFlight(batch: Batch): void {
    this.pause()
    this.rejectInFlight(batch, 'Redis did not answer in time; it may have been published or not')
    this.redis.disconnect(true)
  }

  private rejectInFlight({ messages }: Batch, why: string): void {
    this.inFlight = undefined
    const error = new BrokerError('timeout', why)
    for (const { entries } of messages) for (const pending of entries) this.reject(pending, error)
  }

  private rejectWaiting(nowMs: number, why: string): void {
    for (const [redisChannel, pending] of this.waiting) {
      const rest = pending.filter(({ deadlineMs }) => deadlineMs > nowMs)
      for (const late of pending.slice(0, pending.length - rest.length)) {
        this.reject(late, new BrokerError('unavailable', why))
      }
      if (rest.length === 0) this.waiting.delete(redisChannel)
      else this.waiting.set(redisChannel, rest)
    }
  }
}
