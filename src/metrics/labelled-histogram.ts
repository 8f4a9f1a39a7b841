import type { MetricValueWithName } from 'prom-client'
import type { Labels } from './labelled-value.js'

/** A histogram for the hot path, like `LabelledValue`: plain numbers, and the labels it is exported with. */
export class LabelledHistogram {
  /** Observations in each bucket, not cumulative; the last element is for values above all bounds. */
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

/** A metric for a registry of prom-client, computed from the histograms of all labels at every scrape. */
export class HistogramMetric {
  readonly type = 'histogram'
  readonly aggregator = 'sum'

  constructor(
    readonly name: string,
    readonly help: string,
    private readonly bounds: readonly number[],
    private readonly histograms: readonly LabelledHistogram[],
  ) {}

  /** Called by the registry, with the result in the shape that prom-client's own metrics return. */
  get() {
    const { name, help, type, aggregator } = this
    return Promise.resolve({
      name,
      help,
      type,
      aggregator,
      values: this.histograms.flatMap((histogram) => this.valuesOf(histogram)),
    })
  }

  private valuesOf({ labels, counts, sum, count }: LabelledHistogram): MetricValueWithName<string>[] {
    let cumulative = 0
    const buckets = [...this.bounds, '+Inf'].map((le, index) => {
      cumulative += counts[index] ?? 0
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: cumulative }
    })
    return [
      ...buckets,
      { metricName: `${this.name}_sum`, labels, value: sum },
      { metricName: `${this.name}_count`, labels, value: count },
    ]
  }
}
