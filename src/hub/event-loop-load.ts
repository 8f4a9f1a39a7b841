import { type EventLoopUtilization, performance } from 'node:perf_hooks'

/** Utilization of the event loop from which on this node counts as busy. */
const BUSY_UTILIZATION = 0.6
/** The shortest time that is measured: a garbage collection or a few handshakes are over by then. */
const SAMPLE_MS = 500
/** How long a busy node counts as busy before it is measured again: its reaction makes it less busy. */
const BUSY_MS = 10_000

/** Measures whether this node is busy, only when asked, so that nothing wakes an idle node. */
export class EventLoopLoad {
  private lastUtilization: EventLoopUtilization
  private sampledAtMs: number
  private busyUntilMs = 0

  constructor(
    nowMs: number,
    private readonly read: typeof performance.eventLoopUtilization = performance.eventLoopUtilization,
  ) {
    this.lastUtilization = read()
    this.sampledAtMs = nowMs
  }

  isBusy(nowMs: number): boolean {
    if (nowMs < this.busyUntilMs) return true
    if (nowMs - this.sampledAtMs < SAMPLE_MS) return false
    const { utilization } = this.read(this.lastUtilization)
    this.lastUtilization = this.read()
    this.sampledAtMs = nowMs
    if (utilization < BUSY_UTILIZATION) return false
    this.busyUntilMs = nowMs + BUSY_MS
    return true
  }
}
