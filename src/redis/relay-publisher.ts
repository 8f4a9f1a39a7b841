import type { Redis } from 'ioredis'
import type { Metrics } from '../metrics/metrics.js'
import { encodeMessage } from './envelope.js'

/** After which an entry that waits, or a batch that is not answered, is given up: callers are promised an answer within 2 s. */
const DEADLINE_MS = 1_250
const DEADLINE_CHECK_MS = 250
/** The most that is packed into one relay message, unless a single entry is larger. */
const MAX_MESSAGE_BYTES = 256 * 1024

/** What an entry costs in memory beside its bytes: a promise, its place in the queue, a buffer's frame. Measured. */
const ENTRY_OVERHEAD_BYTES = 700
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

interface Pending {
  readonly entry: Buffer
  readonly isControl: boolean
  readonly deadlineMs: number
  readonly resolve: () => void
  readonly reject: (error: RelayError) => void
}

interface Message {
  readonly redisChannel: string
  readonly entries: readonly Pending[]
}

interface Batch {
  readonly messages: readonly Message[]
  readonly deadlineMs: number
}

/**
 * Publishes entries, packed by what is going on: an entry leaves at the end of the loop iteration if nothing is in
 * flight; what arrives meanwhile waits and leaves together, one PUBLISH a channel, one pipeline for all. An idle node
 * pays no latency and a busy one sends far fewer messages.
 */
export class RelayPublisher {
  private readonly waiting = new Map<string, Pending[]>()
  /** Of what waits and what is in flight. */
  private queuedBytes = 0
  private inFlight: Batch | undefined
  private isFlushScheduled = false
  private isOpen = false
  private isClosed = false
  private deadlineTimer: NodeJS.Timeout | undefined
  private lastCheckMs = 0
  private isGraceGiven = false

  constructor(
    private readonly redis: Redis,
    /** Bytes that may wait; further entries are refused. */
    private readonly maxQueuedBytes: number,
    private readonly metrics: Metrics,
  ) {}

  /** Lets entries out. Until then, and after `pause`, they wait for their deadline. */
  resume(): void {
    this.isOpen = true
    this.scheduleFlush()
  }

  pause(): void {
    this.isOpen = false
  }

  /** Control entries, such as probes, are none of those that the metric of batches is about. */
  publish(redisChannel: string, entry: Buffer, isControl = false): Promise<void> {
    if (this.isClosed) return Promise.reject(new RelayError('unavailable', STOPPING))
    if (this.queuedBytes + costOf(entry) > this.maxQueuedBytes) {
      const message = `${this.queuedBytes} bytes wait for Redis already, the limit is ${this.maxQueuedBytes}`
      return Promise.reject(new RelayError('overloaded', message))
    }
    return new Promise((resolve, reject) => {
      const pending = { entry, isControl, deadlineMs: performance.now() + DEADLINE_MS, resolve, reject }
      const sameChannel = this.waiting.get(redisChannel)
      if (sameChannel === undefined) this.waiting.set(redisChannel, [pending])
      else sameChannel.push(pending)
      this.addQueuedBytes(costOf(entry))
      this.watchDeadlines()
      this.scheduleFlush()
    })
  }

  /** Gives up everything. */
  close(): void {
    this.pause()
    this.isClosed = true
    clearInterval(this.deadlineTimer)
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
    this.metrics.relayQueueBytes.set(this.queuedBytes)
  }

  /** Tells a publisher what became of its entry, once. */
  private settle(pending: Pending, error?: RelayError): void {
    this.addQueuedBytes(-costOf(pending.entry))
    if (error === undefined) pending.resolve()
    else pending.reject(error)
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
    const messages: Message[] = []
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
    const pipeline = this.redis.pipeline()
    for (const { redisChannel, entries } of messages) {
      const events = entries.filter(({ isControl }) => !isControl).length
      if (events > 0) this.metrics.relayBatchSize.observe(events)
      pipeline.publish(redisChannel, encodeMessage(entries.map(({ entry }) => entry)))
    }
    const results = await pipeline.exec().catch((error: Error) => messages.map(() => [error] as const))
    // Given up meanwhile: its publishers have been told.
    if (this.inFlight !== batch) return
    this.inFlight = undefined
    for (const [index, { entries }] of messages.entries()) {
      const error = results?.[index]?.[0]
      const refusal =
        error === null
          ? undefined
          : new RelayError('unavailable', `Redis did not take it: ${error?.message ?? 'no answer'}`)
      for (const pending of entries) this.settle(pending, refusal)
    }
    this.scheduleFlush()
  }

  private watchDeadlines(): void {
    if (this.deadlineTimer !== undefined) return
    this.lastCheckMs = performance.now()
    this.deadlineTimer = setInterval(() => this.checkDeadlines(), DEADLINE_CHECK_MS)
  }

  private checkDeadlines(): void {
    const nowMs = performance.now()
    const isLate = nowMs - this.lastCheckMs > 2 * DEADLINE_CHECK_MS
    this.lastCheckMs = nowMs
    // While this process stood still Redis could not be heard, so everything gets until the next check, but only once.
    this.isGraceGiven = isLate && !this.isGraceGiven
    if (this.isGraceGiven) return
    if (this.inFlight !== undefined && this.inFlight.deadlineMs <= nowMs) this.giveUpInFlight(this.inFlight)
    this.rejectWaiting(nowMs, 'Redis cannot be reached')
    if (this.inFlight === undefined && this.waiting.size === 0) {
      clearInterval(this.deadlineTimer)
      this.deadlineTimer = undefined
    }
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
    for (const { entries } of messages) for (const pending of entries) this.settle(pending, error)
  }

  private rejectWaiting(nowMs: number, why: string): void {
    for (const [redisChannel, pending] of this.waiting) {
      const rest = pending.filter(({ deadlineMs }) => deadlineMs > nowMs)
      for (const late of pending.slice(0, pending.length - rest.length)) {
        this.settle(late, new RelayError('unavailable', why))
      }
      if (rest.length === 0) this.waiting.delete(redisChannel)
      else this.waiting.set(redisChannel, rest)
    }
  }
}

function costOf(entry: Buffer): number {
  return entry.length + ENTRY_OVERHEAD_BYTES
}

/** Splits a channel's entries into messages that stay below the largest size, in their order. */
function pack(redisChannel: string, pending: readonly Pending[]): Message[] {
  const messages: { redisChannel: string; entries: Pending[] }[] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const one of pending) {
    bytes += one.entry.length
    if (bytes > MAX_MESSAGE_BYTES) {
      messages.push({ redisChannel, entries: [] })
      bytes = one.entry.length
    }
    messages.at(-1)?.entries.push(one)
  }
  return messages
}
