/** Time over which entries are counted. */
const WINDOW_MS = 100
/** The least time between two batches of a busy queue. */
export const PACE_MS = 10
/** Entries of a window from which a queue is busy: 2,000 a second, and 150 a second in a channel. */
const BUSY_ENTRIES = 200
const BUSY_ENTRIES_PER_CHANNEL = 15

/**
 * Decides how long the entries of a queue wait for each other. Redis answers a batch in less than a millisecond, in which few
 * further entries of a channel arrive, so that each would be a message of its own. Where that would be thousands of
 * messages a second, batches keep a distance, and the entries of a channel share a message. A queue that is not busy, or
 * whose entries are all in different channels, waits for nothing.
 */
export class RelayPace {
  private readonly channels = new Set<string>()
  private entries = 0
  private windowStartMs = Number.NEGATIVE_INFINITY
  private isBusy = false
  private lastBatchMs = Number.NEGATIVE_INFINITY

  /** Counts an entry. */
  count(redisChannel: string, nowMs: number): void {
    if (nowMs - this.windowStartMs > WINDOW_MS) {
      const isRecent = nowMs - this.windowStartMs < 2 * WINDOW_MS
      const { entries, channels } = this
      this.isBusy = isRecent && entries >= BUSY_ENTRIES && entries >= BUSY_ENTRIES_PER_CHANNEL * channels.size
      this.windowStartMs = nowMs
      this.entries = 0
      this.channels.clear()
    }
    this.entries++
    this.channels.add(redisChannel)
  }

  batchLeft(nowMs: number): void {
    this.lastBatchMs = nowMs
  }

  /** Milliseconds that the next batch has to wait. */
  delayMs(nowMs: number): number {
    return this.isBusy ? Math.max(0, this.lastBatchMs + PACE_MS - nowMs) : 0
  }
}
