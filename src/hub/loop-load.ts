import { type EventLoopUtilization, performance } from 'node:perf_hooks'

/** Share of its time that the event loop is at work, from which on it is said to be busy. */
const BUSY_UTILIZATION = 0.6
/** The shortest time that is judged: a collection of garbage or a handful of handshakes is over by then. */
const LOOK_MS = 500
/** For how long a busy node counts as busy before it is looked at again: what it does about it makes it less busy. */
const BUSY_MS = 10_000

/** Tells whether this node is busy. Looks when it is asked, so that nothing wakes an idle one. */
export class LoopLoad {
  private seen: EventLoopUtilization
  private lookedAtMs: number
  private busyUntilMs = 0

  constructor(
    nowMs: number,
    private readonly read: typeof performance.eventLoopUtilization = performance.eventLoopUtilization,
  ) {
    this.seen = read()
    this.lookedAtMs = nowMs
  }

  isBusy(nowMs: number): boolean {
    if (nowMs < this.busyUntilMs) return true
    if (nowMs - this.lookedAtMs < LOOK_MS) return false
    const { utilization } = this.read(this.seen)
    this.seen = this.read()
    this.lookedAtMs = nowMs
    if (utilization < BUSY_UTILIZATION) return false
    this.busyUntilMs = nowMs + BUSY_MS
    return true
  }
}
