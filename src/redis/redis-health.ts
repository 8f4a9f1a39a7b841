import { errorMessage } from '../error-message.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { failureReason, type RedisReason } from './redis-errors.js'

/** How long a failure counts that nothing has confirmed or cleared: an operation that is not repeated must not fail for ever. */
const FORGET_MS = 10_000

/** Time between two log lines of one cause: an operation may be refused and done in turn, as of two channels. */
const LOG_INTERVAL_MS = 60_000

interface Failure {
  readonly reason: RedisReason
  readonly lastSeenMs: number
}

/**
 * The operations that Redis refuses this node, each until it succeeds again. What fails shows in readiness, in a metric,
 * and in one log line for each cause.
 */
export class RedisHealth {
  private readonly failures = new Map<string, Failure>()
  /** When each reason was logged last. */
  private readonly loggedAtMs = new Map<RedisReason, number>()
  private isRecoveryLogDue = false

  constructor(
    private readonly shard: string,
    private readonly log: Logger,
    private readonly metrics: Metrics,
  ) {}

  /** Reasons why this node cannot do all of its work, in alphabetical order. */
  get reasons(): RedisReason[] {
    const nowMs = performance.now()
    for (const [operation, { lastSeenMs }] of this.failures) {
      if (nowMs - lastSeenMs > FORGET_MS) this.failures.delete(operation)
    }
    return [...new Set([...this.failures.values()].map(({ reason }) => reason))].sort()
  }

  failed(operation: string, error: unknown): void {
    this.failedFor(operation, failureReason(error), errorMessage(error))
  }

  failedFor(operation: string, reason: RedisReason, message: string): void {
    this.metrics.redisCommandFailures.inc({ command: operation, reason })
    const nowMs = performance.now()
    this.failures.set(operation, { reason, lastSeenMs: nowMs })
    // A lost connection is logged where it is made anew.
    if (reason === 'redis_unreachable') return
    const isLogged = nowMs - (this.loggedAtMs.get(reason) ?? Number.NEGATIVE_INFINITY) < LOG_INTERVAL_MS
    if (isLogged) return
    this.loggedAtMs.set(reason, nowMs)
    this.isRecoveryLogDue = true
    const { shard } = this
    this.log.warn({ shard, operation, reason, error: message }, 'Redis refuses what this node needs')
  }

  succeeded(operation: string): void {
    if (this.failures.size === 0 || !this.failures.delete(operation)) return
    if (this.failures.size > 0 || !this.isRecoveryLogDue) return
    this.isRecoveryLogDue = false
    this.log.info({ shard: this.shard }, 'Redis does again what this node needs')
  }
}
