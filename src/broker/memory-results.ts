import type { StreamPosition } from '../protocol/publication.js'
import { IDEMPOTENCY_MS } from './broker.js'

/** Results that are kept; beyond them the oldest goes, and what has its key would be published again. */
const MAX_RESULTS = 100_000

/** What came of publications that had an idempotency key, for as long as the key counts. */
export class MemoryResults {
  /** The oldest first. */
  private readonly results = new Map<string, { position: StreamPosition | undefined; expiresAtMs: number }>()

  constructor(
    /** Milliseconds on a clock that never goes back. */
    private readonly nowMs: () => number,
    private readonly maxResults = MAX_RESULTS,
  ) {}

  /** The first result of the key; of `publish` if there is none. */
  once(channel: string, key: string, publish: () => StreamPosition | undefined): StreamPosition | undefined {
    const nowMs = this.nowMs()
    this.forgetExpired(nowMs)
    const name = JSON.stringify([channel, key])
    const known = this.results.get(name)
    if (known !== undefined) return known.position
    if (this.results.size >= this.maxResults) this.forgetOldest()
    const position = publish()
    this.results.set(name, { position, expiresAtMs: nowMs + IDEMPOTENCY_MS })
    return position
  }

  private forgetExpired(nowMs: number): void {
    for (const [name, { expiresAtMs }] of this.results) {
      if (expiresAtMs > nowMs) return
      this.results.delete(name)
    }
  }

  private forgetOldest(): void {
    const [oldest] = this.results.keys()
    if (oldest !== undefined) this.results.delete(oldest)
  }
}
