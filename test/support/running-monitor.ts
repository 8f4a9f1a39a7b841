import { type MonitorOptions, type MonitorTimings, runMonitor } from '../../src/cli/monitor/monitor.js'
import { afterThisTest } from './clean-ups.js'
import { EventLog } from './event-log.js'

/** Intervals short enough for tests, and timeouts that no test reaches. */
export const QUICK: MonitorTimings = {
  pingIntervalMs: 50,
  pongTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  closeTimeoutMs: 10_000,
  reconnectDelayMs: 50,
}

/** A monitor in this process. It is stopped after the test. */
export class RunningMonitor {
  readonly ended: Promise<void>
  private readonly abort = new AbortController()
  private readonly printed = new EventLog<string>()

  constructor(options: Partial<MonitorOptions> & { url: string }) {
    const complete = { reportIntervalMs: 50, binary: false, timings: QUICK, ...options }
    this.ended = runMonitor(complete, { print: this.printed.add, signal: this.abort.signal })
    afterThisTest(() => this.stop())
  }

  /** The lines that it has printed so far. */
  get lines(): readonly string[] {
    return this.printed.items
  }

  /** Resolves with the first line that the pattern matches, printed already or later. */
  line(pattern: RegExp): Promise<string> {
    return this.printed.find((line) => pattern.test(line))
  }

  stop(): Promise<void> {
    this.abort.abort()
    return this.ended
  }
}
