import { dueMsAt, MESSAGE_BYTES, monotonicMs, sequenceAt } from './message.js'
import type { ReadBuffer } from './read-buffer.js'

/** Latency is counted in buckets of 0.1 ms up to 20 s. */
const BUCKETS_PER_MS = 10
const BUCKETS = 20_000 * BUCKETS_PER_MS

/** More than the messages that can be under way at once; a power of two. */
const DUE_SLOTS = 65_536

/** What the subscribers of one process received of a run of messages. */
export interface DeliveryReport {
  /** Deliveries that came once and in order. */
  verified: number
  expected: number
  /** Deliveries that had not come when one with a higher sequence number came. */
  missed: number
  /** Deliveries of a sequence number at or below one that the subscriber had already. */
  repeated: number
  /** Frames that are no message of a benchmark. */
  malformed: number
  /** Connections that ended, and why the last one did. */
  ended: number
  endReason: string
  /** From when a message was due to when its frame was read, in ms; 0 without deliveries. */
  p50Ms: number
  p99Ms: number
  maxMs: number
}

/** Checks each delivery to each subscriber of this process and counts latencies. */
export class DeliveryLedger {
  private readonly buckets = new Uint32Array(BUCKETS)
  private readonly dueMs = new Float64Array(DUE_SLOTS)
  private readonly dueSequence = new Uint32Array(DUE_SLOTS).fill(0xffffffff)
  private readonly expectedSequence: Uint32Array
  private verified = 0
  private expected = 0
  private missed = 0
  private repeated = 0
  private malformed = 0
  private maxMs = 0
  private ended = 0
  private endReason = ''
  private onComplete: (() => void) | undefined

  constructor(
    private readonly subscribers: number,
    private readonly buffer: ReadBuffer,
  ) {
    this.expectedSequence = new Uint32Array(subscribers)
  }

  /** Starts over for the messages `first` to `first + messages - 1`. */
  expect(first: number, messages: number): void {
    this.expectedSequence.fill(first)
    this.buckets.fill(0)
    this.expected = messages * this.subscribers
    this.verified = 0
    this.missed = 0
    this.repeated = 0
    this.malformed = 0
    this.maxMs = 0
  }

  /** Checks a delivery to a subscriber: `lengthBytes` bytes of the read buffer at `at`. */
  record(subscriber: number, at: number, lengthBytes: number): void {
    if (lengthBytes !== MESSAGE_BYTES) {
      this.malformed += 1
      return
    }
    const sequence = sequenceAt(this.buffer.view, at)
    const expected = this.expectedSequence[subscriber] ?? 0
    if (sequence < expected) {
      this.repeated += 1
      return
    }
    this.missed += sequence - expected
    this.expectedSequence[subscriber] = sequence + 1
    this.observe(monotonicMs() - this.dueMsOf(sequence, at))
    this.verified += 1
    if (this.verified === this.expected) this.onComplete?.()
  }

  /** Counts a connection that has ended. */
  recordEnd(reason: string): void {
    this.ended += 1
    this.endReason = reason
  }

  /** Calls back once every expected delivery has arrived, at once if it has already. */
  whenComplete(callback: () => void): void {
    this.onComplete = callback
    if (this.verified === this.expected) callback()
  }

  report(): DeliveryReport {
    this.onComplete = undefined
    const { verified, expected, missed, repeated, malformed, maxMs, ended, endReason } = this
    const counts = { verified, expected, missed, repeated, malformed, maxMs, ended, endReason }
    return { ...counts, p50Ms: this.quantileMs(0.5), p99Ms: this.quantileMs(0.99) }
  }

  /** Parsed from the first delivery of a message only: for each delivery it would cost more than all the rest. */
  private dueMsOf(sequence: number, at: number): number {
    const slot = sequence & (DUE_SLOTS - 1)
    if (this.dueSequence[slot] !== sequence) {
      this.dueSequence[slot] = sequence
      this.dueMs[slot] = dueMsAt(this.buffer, at)
    }
    return this.dueMs[slot] ?? 0
  }

  private observe(latencyMs: number): void {
    const bucket = Math.max(0, Math.min(Math.floor(latencyMs * BUCKETS_PER_MS), BUCKETS - 1))
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1
    if (latencyMs > this.maxMs) this.maxMs = latencyMs
  }

  private quantileMs(quantile: number): number {
    let remaining = this.verified * quantile
    const bucket = this.buckets.findIndex((count) => {
      remaining -= count
      return remaining <= 0
    })
    return this.verified === 0 ? 0 : (bucket + 1) / BUCKETS_PER_MS
  }
}
