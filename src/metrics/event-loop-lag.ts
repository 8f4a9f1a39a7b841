import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { Gauge, type Registry } from 'prom-client'

/** How long a histogram collects observations; it counts for one more window, so that each counts 30 to 60 s. */
const WINDOW_MS = 30_000
const NS_PER_MS = 1e6
const NS_PER_SECOND = 1e9
const PROM_CLIENT_NAMES = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99']
const HELP = "how late the timer of the node's connections was, in the last 30 to 60 s."

/**
 * The lag of the event loop, under prom-client's metric names. The monitor of prom-client wakes the process every 10 ms
 * for a sample, counts the time between two samples as lag, and forgets all samples with every scrape, so that two
 * scrapers disturb each other. This one observes a timer that the node has anyway.
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
    const gauge = (name: string, statistic: string, readNs: (lag: RecordableHistogram) => number) => {
      const read = () => readNs(this.merged()) / NS_PER_SECOND
      new Gauge({
        name: `nodejs_eventloop_lag_${name}_seconds`,
        help: `${statistic} of ${HELP}`,
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

  /** Records by how many milliseconds a timer was late. */
  observe(lateMs: number): void {
    const nowMs = this.clock()
    if (nowMs >= this.windowEndsMs) {
      this.previous = this.current
      this.current = createHistogram()
      this.windowEndsMs = nowMs + WINDOW_MS
    }
    // A histogram of Node accepts no value below 1.
    this.current.record(Math.max(1, Math.round(lateMs * NS_PER_MS)))
  }

  private merged(): RecordableHistogram {
    const merged = createHistogram()
    for (const window of [this.previous, this.current]) if (window.count > 0) merged.add(window)
    return merged
  }
}
