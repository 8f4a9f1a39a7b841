import { type MonitorOptions, type MonitorTimings, runMonitor } from '../../src/cli/monitor.js'
import { afterThisTest } from './clean-ups.js'

/** Timings that a test need not wait for. */
export const QUICK: MonitorTimings = {
  pingIntervalMs: 50,
  pongTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  closeTimeoutMs: 10_000,
  reconnectDelayMs: 50,
}

/** A monitor in this process, stopped after the test. */
export class RunningMonitor {
  readonly lines: string[] = []
  readonly ended: Promise<void>
  private readonly abort = new AbortController()
  private readonly watchers = new Set<() => void>()

  constructor(options: Partial<MonitorOptions> & { url: string }) {
    const print = (line: string) => {
      this.lines.push(line)
      for (const watch of this.watchers) watch()
    }
    const complete = { reportIntervalMs: 50, binary: false, timings: QUICK, ...options }
    this.ended = runMonitor(complete, { print, signal: this.abort.signal })
    afterThisTest(() => this.stop())
  }

  /** The first line, printed or yet to come, that the pattern matches. */
  line(pattern: RegExp): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.lines.find((line) => pattern.test(line))
        if (found === undefined) return
        this.watchers.delete(look)
        resolve(found)
      }
      this.watchers.add(look)
      look()
    })
  }

  stop(): Promise<void> {
    this.abort.abort()
    return this.ended
  }
}
