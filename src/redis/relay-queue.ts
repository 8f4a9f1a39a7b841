import type { Redis } from 'ioredis'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { ByteBudget } from './byte-budget.js'
import {
  ClusterDownError,
  isClusterDown,
  isMoved,
  isNotMaster,
  isOtherMaster,
  isRedirection,
  isRefusal,
  isReplicaError,
  isUnknownScript,
  ReplicaError,
} from './redis-errors.js'
import { type EntryStorage, memoryOf, type PackedMessage, type PendingEntry, pack } from './relay-batch.js'
import { encodeEntry, type RelayEvent } from './relay-message.js'
import { RelayPace } from './relay-pace.js'
import { addRelayCommand, firstPosition, type MasterIdentity } from './stream-scripts.js'

/** Time after which an entry is given up: publishers are promised an answer within 2 s. */
const ENTRY_DEADLINE_MS = 1_600
/** Silence after which a connection that owes a reply is taken for dead. A slower Redis is slow, not dead. */
const SILENCE_MS = 1_500
/** An entry with less time left is not sent: it would be given up before its reply, although it was published. */
const LEAST_TIME_MS = 250
/** The least time between two checks of deadlines. */
const DEADLINE_CHECK_MS = 250
/** A timer that fires later than this was delayed by a stall of this process. */
const STALL_MS = 50
/** Timers count from the beginning of the loop iteration, and would fire just before the deadline that they are for. */
const TIMER_SLACK_MS = 5
/** Time before entries are sent again that their server has not taken, since another one has their slot now or soon. */
const RESEND_DELAY_MS = 50
const NO_FIELD = 'none'
/** Messages in one pipeline; further ones wait for the next. */
const MAX_BATCH_MESSAGES = 10_000

const STOPPING = 'the node is stopping'
const NO_ANSWER = 'Redis did not answer in time; it may have been published or not'

type Reply = readonly [error: Error | null, reply?: unknown]

interface Batch {
  readonly messages: readonly PackedMessage[]
  /** When the connection is taken for dead. */
  readonly silentAtMs: number
}

/** Entries that wait, by Redis channel. */
export type ReleasedEntries = readonly (readonly [redisChannel: string, pending: readonly PendingEntry[]])[]

/** To relay entries and nothing else, or to store them too. */
export type RelayOperation = 'relay' | 'relay_and_store'

export interface RelayQueueOptions {
  readonly redis: Redis
  /** Bytes that may be queued; further events are refused as `overloaded`. */
  readonly budget: ByteBudget
  /** Whether Redis channels belong to slots, as in a Redis Cluster. */
  readonly isSharded: boolean
  readonly metrics: Metrics
  /** Called when a reply shows that the connection leads to no master, or to another one than was identified. */
  readonly onOtherServer: () => void
  /** Called when Redis has said that another server has a slot, or will have it. What it did not take waits again. */
  readonly onRedirected: (error: Error) => void
  /** Called for each batch and each of its operations, with what Redis refused of it, if anything. */
  readonly onOutcome: (operation: RelayOperation, refusal: Error | undefined) => void
}

/**
 * Relays events to Redis, batched by load: an event leaves at the end of the loop iteration if no batch is in flight;
 * events that arrive meanwhile wait and leave together, one message a channel and one pipeline for all. An idle node
 * adds no latency and a busy one sends far fewer messages. Entries that a stream keeps leave by one script call a
 * channel.
 */
export class RelayQueue {
  private readonly waiting = new Map<string, PendingEntry[]>()
  private readonly pace = new RelayPace()
  private inFlight: Batch | undefined
  private isFlushScheduled = false
  private resendTimer: NodeJS.Timeout | undefined
  private isOpen = false
  private isHeld = false
  private onSettled: (() => void) | undefined
  private master: MasterIdentity = { era: '', replicationId: '' }
  private isClosed = false
  /** Fires at the deadline of the entry that was oldest when it was set: it wakes a busy process less than once a second. */
  private deadlineTimer: NodeJS.Timeout | undefined
  private nextCheckMs = 0
  private isGraceGiven = false

  constructor(private readonly options: RelayQueueOptions) {}

  /**
   * Lets events out, to this master. Before the first call, and after `pause`, they wait until their deadline.
   */
  resume(master: MasterIdentity): void {
    this.isOpen = true
    this.master = master
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
    const { budget } = this.options
    if (!budget.take(memory)) {
      const message = `${budget.used} bytes wait for Redis already, the limit is ${budget.maxBytes}`
      return Promise.reject(new BrokerError('overloaded', message))
    }
    return new Promise((resolve, reject) => {
      const nowMs = performance.now()
      const deadlineMs = nowMs + ENTRY_DEADLINE_MS
      this.pace.count(redisChannel, nowMs)
      const isControl = event.type === 'control'
      const pending = { entry, storage, isControl, deadlineMs, isSettled: false, resolve, reject }
      const sameChannel = this.waiting.get(redisChannel)
      if (sameChannel === undefined) this.waiting.set(redisChannel, [pending])
      else sameChannel.push(pending)
      if (this.deadlineTimer === undefined) this.scheduleDeadlineCheck(ENTRY_DEADLINE_MS)
      this.scheduleFlush()
    })
  }

  /** Rejects everything that waits, and every later event. */
  close(): void {
    this.pause()
    this.isClosed = true
    clearTimeout(this.deadlineTimer)
    clearTimeout(this.resendTimer)
    this.deadlineTimer = undefined
    this.rejectWaitingDueBy(Number.POSITIVE_INFINITY, STOPPING)
  }

  /** The connection is lost, and with it the replies to the batch in flight, which no reply will settle any more. */
  connectionLost(): void {
    this.pause()
    if (this.inFlight === undefined) return
    this.rejectInFlight(this.inFlight, 'the connection to Redis was lost; it may have been published or not')
  }

  /** Lets nothing out until `letGo`. Resolves once no batch is in flight, so that another queue may continue. */
  hold(): Promise<void> {
    this.isHeld = true
    if (this.inFlight === undefined) return Promise.resolve()
    return new Promise((resolve) => {
      this.onSettled = resolve
    })
  }

  letGo(): void {
    this.isHeld = false
    this.scheduleFlush()
  }

  /** Removes the entries that wait for some Redis channels, and returns them for another queue to adopt. */
  release(isReleased: (redisChannel: string) => boolean): ReleasedEntries {
    const released = [...this.waiting].filter(([redisChannel]) => isReleased(redisChannel))
    for (const [redisChannel] of released) this.waiting.delete(redisChannel)
    return released
  }

  /** Queues entries that another queue has released, each with its own deadline. */
  adopt(released: ReleasedEntries): void {
    for (const [redisChannel, pending] of released) this.queueFirst(redisChannel, pending)
    if (released.length > 0) {
      // They are older than what this queue has, and have less time.
      clearTimeout(this.deadlineTimer)
      this.scheduleDeadlineCheck(DEADLINE_CHECK_MS)
    }
    this.scheduleFlush()
  }

  private queueFirst(redisChannel: string, pending: readonly PendingEntry[]): void {
    this.waiting.set(redisChannel, [...pending, ...(this.waiting.get(redisChannel) ?? [])])
  }

  private resolve(pending: PendingEntry, position: StreamPosition | undefined): void {
    if (pending.isSettled) return
    pending.isSettled = true
    this.options.budget.giveBack(memoryOf(pending))
    pending.resolve(position)
  }

  private reject(pending: PendingEntry, error: BrokerError): void {
    if (pending.isSettled) return
    pending.isSettled = true
    this.options.budget.giveBack(memoryOf(pending))
    pending.reject(error)
  }

  private scheduleFlush(): void {
    if (this.isFlushScheduled || this.resendTimer !== undefined || !this.mayFlush) return
    this.isFlushScheduled = true
    const flush = () => {
      this.isFlushScheduled = false
      this.flush()
    }
    const delayMs = this.pace.delayMs(performance.now())
    if (delayMs > 0) setTimeout(flush, delayMs)
    // Not at once: events that other sockets send in this iteration belong into the same batch.
    else setImmediate(flush)
  }

  private get mayFlush(): boolean {
    return this.isOpen && !this.isHeld && this.inFlight === undefined && this.waiting.size > 0
  }

  private flush(): void {
    if (!this.mayFlush) return
    const nowMs = performance.now()
    const leastTimeMs = this.isGraceGiven ? Number.NEGATIVE_INFINITY : LEAST_TIME_MS
    const messages: PackedMessage[] = []
    for (const [redisChannel, pending] of this.waiting) {
      if (messages.length >= MAX_BATCH_MESSAGES) break
      // Entries of a channel wait in the order in which they came, so the first ones have the least time left.
      const first = pending.findIndex(({ deadlineMs }) => deadlineMs - nowMs >= leastTimeMs)
      if (first < 0) continue
      if (first === 0) this.waiting.delete(redisChannel)
      else this.waiting.set(redisChannel, pending.slice(0, first))
      for (const message of pack(redisChannel, pending.slice(first))) messages.push(message)
    }
    if (messages.length === 0) return
    const batch = { messages, silentAtMs: nowMs + SILENCE_MS }
    this.inFlight = batch
    this.pace.batchLeft(nowMs)
    void this.send(batch)
  }

  private async send(batch: Batch): Promise<void> {
    const { messages } = batch
    for (const { entries } of messages) {
      const events = entries.filter(({ isControl }) => !isControl).length
      if (events > 0) this.options.metrics.relayBatchSize.observe(events)
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
    const untaken = this.requeueUntaken(messages, replies)
    for (const [index, message] of messages.entries()) {
      if (!untaken.has(message)) this.settle(message, replies[index])
    }
    this.endBatch()
    this.reportOutcome(messages, replies)
    this.scheduleFlush()
  }

  private endBatch(): void {
    this.inFlight = undefined
    this.onSettled?.()
    this.onSettled = undefined
  }

  /**
   * Queues again what the server has not taken since it is not the master of it, or no longer: such a reply is certain.
   * Returns the messages. One that a later message of its channel has overtaken is not among them, for order's sake.
   */
  private requeueUntaken(
    messages: readonly PackedMessage[],
    replies: readonly Reply[],
  ): ReadonlySet<PackedMessage> {
    const untaken = new Set<PackedMessage>()
    let redirection: Error | undefined
    let downError: Error | undefined
    const overtaken = new Set<string>()
    for (let index = messages.length - 1; index >= 0; index--) {
      const message = messages[index]
      const [error = null] = replies[index] ?? []
      if (message === undefined) continue
      const { redisChannel, entries } = message
      const isUntaken = this.isRedirected(error) || isOtherMaster(error)
      if (isUntaken && !overtaken.has(redisChannel)) {
        untaken.add(message)
        this.queueFirst(
          redisChannel,
          entries.filter(({ isSettled }) => !isSettled),
        )
      } else overtaken.add(redisChannel)
      if (this.isRedirected(error)) redirection = error
      if (error instanceof ClusterDownError) downError = error
    }
    if (downError !== undefined) this.options.onRedirected(downError)
    if (redirection !== undefined) {
      this.resendTimer = setTimeout(() => {
        this.resendTimer = undefined
        this.scheduleFlush()
      }, RESEND_DELAY_MS)
      this.options.onRedirected(redirection)
    }
    return untaken
  }

  private reportOutcome(messages: readonly PackedMessage[], replies: readonly Reply[]): void {
    const refusals = new Map<RelayOperation, Error | undefined>()
    let isOtherServer = false
    for (const [index, { storage }] of messages.entries()) {
      const operation = storage === undefined ? 'relay' : 'relay_and_store'
      const [error = null] = replies[index] ?? []
      const isReplica = isNotMaster(error) || isReplicaError(error)
      isOtherServer ||= isReplica || isOtherMaster(error)
      const isUnproved = isReplicaError(error) || error instanceof ClusterDownError
      const isRequeued = isOtherMaster(error) || (this.isRedirected(error) && !isClusterDown(error))
      const isRefused = (isRefusal(error) || isUnproved) && !isRequeued
      const refusal = isRefused ? (error ?? undefined) : undefined
      refusals.set(operation, refusals.get(operation) ?? refusal)
    }
    for (const [operation, refusal] of refusals) this.options.onOutcome(operation, refusal)
    if (isOtherServer) this.options.onOtherServer()
  }

  /**
   * Sends one pipeline for all messages. Scripts are sent by their digest, which Redis may not know after a restart; one
   * that has to be repeated comes behind the rest of the batch. So in a channel with further messages in the batch they
   * are sent in full, to keep their order.
   *
   * A replica takes a plain PUBLISH, which then reaches only its own subscribers. Deleting a field of a hash that does not
   * exist changes nothing, but a replica refuses it: behind the messages, it shows that a master took them. The hash has
   * the name of a Redis channel, since it must be in a slot of this server.
   */
  private async execute(
    messages: readonly PackedMessage[],
    isInFull: (message: PackedMessage) => boolean,
  ): Promise<Reply[]> {
    const { redis, isSharded } = this.options
    const pipeline = redis.pipeline()
    for (const message of messages) {
      addRelayCommand(pipeline, message, this.master, { isInFull: isInFull(message), isSharded })
    }
    const last = messages.findLastIndex(({ storage }) => storage === undefined)
    const proved = messages[last]
    if (proved !== undefined) pipeline.hdel(proved.redisChannel, NO_FIELD)
    let replies: Reply[]
    try {
      replies = (await pipeline.exec()) ?? []
    } catch (error) {
      return messages.map(() => [error as Error])
    }
    const proof = proved === undefined ? undefined : replies.pop()
    const unproved = proof === undefined ? undefined : this.unprovedBecause(proof, replies[last])
    if (unproved === undefined) return replies
    return replies.map((reply, index) =>
      messages[index]?.storage === undefined && reply[0] === null ? [unproved] : reply,
    )
  }

  /**
   * What the proof says against the messages before it. While a slot is on its way to another master, that of its keys which
   * do not exist yet is asked for there; the messages are this master's still.
   */
  private unprovedBecause([error]: Reply, [provedError]: Reply = [null]): Error | undefined {
    const cause = error ?? undefined
    if (isNotMaster(cause)) return new ReplicaError('the server is a replica', { cause })
    if (!this.options.isSharded) return undefined
    if (isClusterDown(cause)) return new ClusterDownError('the Redis Cluster is down', { cause })
    // Where the slot of the proved message moved away in time for that, the proof says nothing of the others.
    const isElsewhere = isMoved(cause) && !isMoved(provedError)
    return isElsewhere ? new ReplicaError('the server is a replica', { cause }) : undefined
  }

  private isRedirected(error: Error | null): error is Error {
    return this.options.isSharded && isRedirection(error)
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
    if (this.inFlight !== undefined) {
      if (this.inFlight.silentAtMs <= nowMs) this.giveUpInFlight(this.inFlight)
      else this.rejectOverdueInFlight(this.inFlight, nowMs)
    }
    this.rejectWaitingDueBy(nowMs, 'Redis cannot be reached')
  }

  /** The earliest deadline of the batch in flight and of all entries without an answer. */
  private earliestDeadlineMs(): number | undefined {
    let earliestMs = this.inFlight?.silentAtMs ?? Number.POSITIVE_INFINITY
    for (const { entries } of this.inFlight?.messages ?? []) {
      const first = entries.find(({ isSettled }) => !isSettled)
      earliestMs = Math.min(earliestMs, first?.deadlineMs ?? earliestMs)
    }
    for (const [first] of this.waiting.values())
      earliestMs = Math.min(earliestMs, first?.deadlineMs ?? earliestMs)
    return earliestMs === Number.POSITIVE_INFINITY ? undefined : earliestMs
  }

  /** Gives up entries, but not the connection: it may be slow, and has not been silent for long. */
  private rejectOverdueInFlight({ messages }: Batch, nowMs: number): void {
    for (const { entries } of messages) {
      for (const pending of entries) {
        if (pending.deadlineMs > nowMs) break
        this.reject(pending, new BrokerError('timeout', NO_ANSWER))
      }
    }
  }

  /** Whether Redis took the batch is unknown. A new connection keeps its late reply from settling another batch. */
  private giveUpInFlight(batch: Batch): void {
    this.pause()
    this.rejectInFlight(batch, NO_ANSWER)
    this.options.redis.disconnect(true)
  }

  private rejectInFlight({ messages }: Batch, why: string): void {
    const error = new BrokerError('timeout', why)
    for (const { entries } of messages) for (const pending of entries) this.reject(pending, error)
    this.endBatch()
  }

  /** Rejects the waiting entries whose own deadline is at this time or before it: Redis has not got them. */
  private rejectWaitingDueBy(deadlineMs: number, why: string): void {
    for (const [redisChannel, pending] of this.waiting) {
      const rest = pending.filter((entry) => entry.deadlineMs > deadlineMs)
      for (const late of pending.slice(0, pending.length - rest.length)) {
        this.reject(late, new BrokerError('unavailable', why))
      }
      if (rest.length === 0) this.waiting.delete(redisChannel)
      else this.waiting.set(redisChannel, rest)
    }
  }
}
