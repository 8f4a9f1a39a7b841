import { AggregatorRegistry, Counter, Registry } from 'prom-client'
import type { Exposition, MetricsSnapshot } from './metrics.js'

/** The metrics of a supervisor: those of its workers, aggregated as if they were one node, and its own. */
export class JointMetrics {
  private readonly own = new Registry()
  private readonly restarts = new Counter({
    name: 'fanfare_worker_restarts_total',
    help: 'Workers that ended by themselves and were started again.',
    registers: [this.own],
  })
  /** The sum of the counters and histograms of all ended workers: one snapshot, however many workers have ended. */
  private ended: Promise<MetricsSnapshot> = Promise.resolve([])

  /**
   * Adds the last snapshot of an ended worker, undefined if there is none, to what is exported from now on. The worker
   * that replaces it counts from zero, and Prometheus would take a sum that falls for a restart of the whole node.
   */
  addEndedWorker(last: MetricsSnapshot | undefined): void {
    this.restarts.inc()
    if (last === undefined) return
    const counted = last.filter(({ type }) => isCounted(type))
    this.ended = this.ended.then((before) => sumOf([before, counted]).getMetricsAsJSON())
  }

  /**
   * The metrics in the text format of Prometheus, from a snapshot of each running worker. Most are sums over all
   * running and ended workers.
   */
  async expose(snapshots: readonly MetricsSnapshot[]): Promise<Exposition> {
    const [ended, own] = await Promise.all([this.ended, this.own.getMetricsAsJSON()])
    const registry = sumOf([...snapshots, ended, own])
    return { contentType: registry.contentType, body: await registry.metrics() }
  }
}

function sumOf(snapshots: MetricsSnapshot[]): Registry {
  return AggregatorRegistry.aggregate(snapshots)
}

/** Whether a metric only grows. A snapshot has its type as a word, although prom-client declares a number. */
function isCounted(type: unknown): boolean {
  return type === 'counter' || type === 'histogram'
}
