import { createHistogram } from 'node:perf_hooks'
import { Gauge, type Registry } from 'prom-client'

const NS_PER_MS = 1e6
const NS_PER_SECOND = 1e9

/**
 * How late timers were since the last scrape, under prom-client's names. Its own monitor wakes the process for each
 * sample, which cost an idle node a quarter of its CPU time, and counts the time between two samples as lag.
 */
export class EventLoopLag {
  private readonly observed = createHistogram()

  constructor(registry: Registry) {
    const { observed } = this
    const gauge = (name: string, help: string, readNs: () => number) => {
      registry.removeSingleMetric(`nodejs_eventloop_lag_${name}`)
      new Gauge({
        name: `nodejs_eventloop_lag_${name}`,
        help,
        aggregator: 'max',
        registers: [registry],
        collect() {
          this.set(observed.count === 0 ? 0 : readNs() / NS_PER_SECOND)
        },
      })
    }
    for (const name of ['min_seconds', 'mean_seconds', 'stddev_seconds']) {
      registry.removeSingleMetric(`nodejs_eventloop_lag_${name}`)
    }
    gauge('p50_seconds', 'The 50th percentile of how late timers were.', () => observed.percentile(50))
    gauge('p90_seconds', 'The 90th percentile of how late timers were.', () => observed.percentile(90))
    gauge('p99_seconds', 'The 99th percentile of how late timers were.', () => observed.percentile(99))
    gauge('max_seconds', 'The latest that a timer was.', () => observed.max)
  }

  /** A timer came so many milliseconds late. */
  observe(lateMs: number): void {
    this.observed.record(Math.max(1, Math.round(lateMs * NS_PER_MS)))
  }

  /** To be called after each scrape. */
  reset(): void {
    this.observed.reset()
  }
}
