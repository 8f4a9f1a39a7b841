import type { MetricValueWithName } from 'prom-client'
import type { Labels } from './labelled-value.js'

/** What was observed under one set of labels: like a `Tally`, for the hot path. */
export class LabelledHistogram {
  /** Of each bucket, and of what is above the last. */
  readonly counts: number[]
  sum = 0

  constructor(
    readonly labels: Labels,
    private readonly bounds: readonly number[],
  ) {
    this.counts = [0, ...bounds].map(() => 0)
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0)
  }

  observe(value: number): void {
    const { bounds, counts } = this
    let bucket = 0
    while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket++
    counts[bucket] = (counts[bucket] ?? 0) + 1
    this.sum += value
  }
}

/** A histogram as a registry of prom-client wants it, computed when it asks. */
export class HistogramMetric {
  readonly type = 'histogram'
  readonly aggregator = 'sum'

  constructor(
    readonly name: string,
    readonly help: string,
    private readonly bounds: readonly number[],
    private readonly observed: readonly LabelledHistogram[],
  ) {}

  /** As a registry asks for it. */
  get() {
    const { name, help, type, aggregator } = this
    return Promise.resolve({
      name,
      help,
      type,
      aggregator,
      values: this.observed.flatMap((of) => this.valuesOf(of)),
    })
  }

  private valuesOf({ labels, counts, sum, count }: LabelledHistogram): MetricValueWithName<string>[] {
    let upTo = 0
    const buckets = [...this.bounds, '+Inf'].map((le, index) => {
      upTo += counts[index] ?? 0
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: upTo }
    })
    return [
      ...buckets,
      { metricName: `${this.name}_sum`, labels, value: sum },
      { metricName: `${this.name}_count`, labels, value: count },
    ]
  }
}
