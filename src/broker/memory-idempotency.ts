import type { StreamPosition } from '../protocol/publication.js'
import { IDEMPOTENCY_MS } from './broker.js'

/** Results that are stored; beyond them the oldest is deleted, and an event with its key would be published again. */
const MAX_RESULTS = 100_000

/** The results of events with an idempotency key, each stored for IDEMPOTENCY_MS. */
export class MemoryIdempotency {
  /** By channel and key; the oldest first. */
  private readonly results = new Map<string, { position: StreamPosition | undefined; expiresAtMs: number }>()

  constructor(
    /** Milliseconds on a clock that never goes back. */
    private readonly nowMs: () => number,
    private readonly maxResults = MAX_RESULTS,
  ) {}

  /** Returns the result of the first event with this key, which is that of `publish` if there was none. */
  publishOnce(
    channel: string,
    key: string,
    publish: () => StreamPosition | undefined,
  ): StreamPosition | undefined {
    const nowMs = this.nowMs()
    this.deleteExpired(nowMs)
    const name = JSON.stringify([channel, key])
    const known = this.results.get(name)
    if (known !== undefined) return known.position
    if (this.results.size >= this.maxResults) this.deleteOldest()
    const position = publish()
    this.results.set(name, { position, expiresAtMs: nowMs + IDEMPOTENCY_MS })
    return position
  }

  private deleteExpired(nowMs: number): void {
    for (const [name, { expiresAtMs }] of this.results) {
      if (expiresAtMs > nowMs) return
      this.results.delete(name)
    }
  }

  private deleteOldest(): void {
    const [oldest] = this.results.keys()
    if (oldest !== undefined) this.results.delete(oldest)
  }
}
