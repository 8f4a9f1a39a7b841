import { AggregatorRegistry, Counter, Registry } from 'prom-client'
import type { Exposition, MetricsSnapshot } from './metrics.js'

/** The metrics of a supervisor's workers as those of one node, and the supervisor's own. */
export class JointMetrics {
  private readonly own = new Registry()
  private readonly restarts = new Counter({
    name: 'fanfare_worker_restarts_total',
    help: 'Workers that ended by themselves and were started again.',
    registers: [this.own],
  })
  /** What all workers that have ended counted, added up: as large as one worker's, however many there were. */
  private ended: Promise<MetricsSnapshot> = Promise.resolve([])

  /**
   * Takes over what a worker counted that has ended, and is started again: its successor begins at zero, and a sum that
   * falls would be taken for a restart of everything.
   */
  workerEnded(last: MetricsSnapshot | undefined): void {
    this.restarts.inc()
    if (last === undefined) return
    const counted = last.filter(({ type }) => isCounted(type))
    this.ended = this.ended.then((before) => sumOf([before, counted]).getMetricsAsJSON())
  }

  /** In the text format of Prometheus: most is added up, over the workers there are and those that have ended. */
  async expose(snapshots: readonly MetricsSnapshot[]): Promise<Exposition> {
    const [ended, own] = await Promise.all([this.ended, this.own.getMetricsAsJSON()])
    const registry = sumOf([...snapshots, ended, own])
    return { contentType: registry.contentType, body: await registry.metrics() }
  }
}

function sumOf(snapshots: MetricsSnapshot[]): Registry {
  return AggregatorRegistry.aggregate(snapshots)
}

/** Whether a metric only grows. In a snapshot types are words, which the library's declarations have as numbers. */
function isCounted(type: unknown): boolean {
  return type === 'counter' || type === 'histogram'
}
