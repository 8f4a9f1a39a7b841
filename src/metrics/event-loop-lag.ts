import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { Gauge, type Registry } from 'prom-client'

/** After which what was observed makes room; until then it counts, twice as long at the most. */
const WINDOW_MS = 30_000
const NS_PER_MS = 1e6
const NS_PER_SECOND = 1e9
const PROM_CLIENT_NAMES = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99']
const HELP = "how late the timer of the node's connections was, in the last 30 to 60 s."

/**
 * How long the event loop keeps others waiting, under prom-client's names. Its own monitor wakes the process for each
 * sample of 10 ms, counts the time between two samples as lag, and forgets with each scrape, whoever makes it; this one
 * looks at a timer that the node has anyway.
 */
export class EventLoopLag {
  private current = createHistogram()
  private previous = createHistogram()
  private windowEndsMs: number

  constructor(
    registry: Registry,
    /** Milliseconds on a clock that never goes back. */
    private readonly clock: () => number = () => performance.now(),
  ) {
    this.windowEndsMs = clock() + WINDOW_MS
    for (const name of PROM_CLIENT_NAMES) registry.removeSingleMetric(`nodejs_eventloop_lag_${name}_seconds`)
    const gauge = (name: string, what: string, readNs: (lag: RecordableHistogram) => number) => {
      const read = () => readNs(this.observed()) / NS_PER_SECOND
      new Gauge({
        name: `nodejs_eventloop_lag_${name}_seconds`,
        help: `${what} of ${HELP}`,
        aggregator: 'max',
        registers: [registry],
        collect() {
          this.set(read())
        },
      })
    }
    gauge('p50', 'The median', (lag) => lag.percentile(50))
    gauge('p90', 'The 90th percentile', (lag) => lag.percentile(90))
    gauge('p99', 'The 99th percentile', (lag) => lag.percentile(99))
    gauge('max', 'The most', (lag) => (lag.count === 0 ? 0 : lag.max))
  }

  /** A timer was late by so much. */
  observe(lateMs: number): void {
    const nowMs = this.clock()
    if (nowMs >= this.windowEndsMs) {
      this.previous = this.current
      this.current = createHistogram()
      this.windowEndsMs = nowMs + WINDOW_MS
    }
    // The least that a histogram takes is 1.
    this.current.record(Math.max(1, Math.round(lateMs * NS_PER_MS)))
  }

  private observed(): RecordableHistogram {
    const both = createHistogram()
    for (const one of [this.previous, this.current]) if (one.count > 0) both.add(one)
    return both
  }
}
