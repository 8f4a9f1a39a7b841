import type { Counter, Gauge, Metric, Registry } from 'prom-client'
import { HistogramMetric, LabelledHistogram } from './labelled-histogram.js'
import { LabelledValue, LabelledValues } from './labelled-value.js'

type MetricKind = typeof Counter | typeof Gauge

/** A label, and all the values that it can have. */
interface Label<V extends string> {
  readonly name: string
  readonly values: readonly V[]
}

interface ExportedValues {
  readonly kind: MetricKind
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  /** Read at every scrape. */
  readonly values: Iterable<LabelledValue>
}

/**
 * Metrics for the hot path that are plain numbers until a scrape: a metric of prom-client creates objects and texts
 * from its labels at every update. All are exported from the start, also before there is anything to count.
 */
export class DeferredMetrics {
  constructor(
    private readonly registry: Registry,
    private readonly prefix: string,
  ) {}

  /** A metric without labels. */
  value(kind: MetricKind, name: string, help: string): LabelledValue {
    const value = new LabelledValue({})
    this.export({ kind, name, help, labelNames: [], values: [value] })
    return value
  }

  /** A metric with one label whose values are known: one number for each of them. */
  valuePerLabel<V extends string>(
    kind: MetricKind,
    name: string,
    help: string,
    label: Label<V>,
  ): Readonly<Record<V, LabelledValue>> {
    const byLabel = recordOf(label.values, (labelValue) => new LabelledValue({ [label.name]: labelValue }))
    this.export({ kind, name, help, labelNames: [label.name], values: Object.values(byLabel) })
    return byLabel
  }

  /** A metric with labels whose values are not known in advance. The caller bounds how many there are. */
  values(kind: MetricKind, name: string, help: string, labelNames: readonly string[]): LabelledValues {
    const values = new LabelledValues()
    this.export({ kind, name, help, labelNames, values })
    return values
  }

  /** A histogram without labels. `bounds`: the upper bounds of its buckets, ascending. */
  histogram(name: string, help: string, bounds: readonly number[]): LabelledHistogram {
    const histogram = new LabelledHistogram({}, bounds)
    this.exportHistogram(name, help, bounds, [histogram])
    return histogram
  }

  /** A histogram for each of the values of a label. */
  histogramPerLabel<V extends string>(
    name: string,
    help: string,
    bounds: readonly number[],
    label: Label<V>,
  ): Readonly<Record<V, LabelledHistogram>> {
    const byLabel = recordOf(
      label.values,
      (labelValue) => new LabelledHistogram({ [label.name]: labelValue }, bounds),
    )
    this.exportHistogram(name, help, bounds, Object.values(byLabel))
    return byLabel
  }

  private export({ kind, name, help, labelNames, values }: ExportedValues): void {
    new kind({
      name: `${this.prefix}${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset()
        for (const { labels, value } of values) this.inc({ ...labels }, value)
      },
    })
  }

  private exportHistogram(
    name: string,
    help: string,
    bounds: readonly number[],
    histograms: readonly LabelledHistogram[],
  ): void {
    const histogram = new HistogramMetric(`${this.prefix}${name}`, help, bounds, histograms)
    // A registry uses only the name and `get` of a metric, but its declaration accepts prom-client's own classes alone.
    this.registry.registerMetric(histogram as unknown as Metric<string>)
  }
}

function recordOf<V extends string, T>(values: readonly V[], make: (value: V) => T): Readonly<Record<V, T>> {
  return Object.fromEntries(values.map((value) => [value, make(value)])) as Record<V, T>
}
