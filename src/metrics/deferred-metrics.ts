import type { Counter, Gauge, Metric, Registry } from 'prom-client'
import { HistogramMetric, LabelledHistogram } from './labelled-histogram.js'
import { LabelledValue, LabelledValues } from './labelled-value.js'

type Kind = typeof Counter | typeof Gauge

/**
 * Metrics that are plain numbers until somebody looks: those of prom-client make objects and texts of their labels each
 * time. All are exported from the start, whether or not there is anything to count yet.
 */
export class DeferredMetrics {
  constructor(
    private readonly registry: Registry,
    private readonly prefix: string,
  ) {}

  /** One number, without labels. */
  value(kind: Kind, name: string, help: string): LabelledValue {
    const tally = new LabelledValue({})
    this.export(kind, name, help, [], [tally])
    return tally
  }

  /** A number for each of the values of a label. */
  valuePerLabel<V extends string>(
    kind: Kind,
    name: string,
    help: string,
    label: string,
    values: readonly V[],
  ): Readonly<Record<V, LabelledValue>> {
    const tallies = recordOf(values, (value) => new LabelledValue({ [label]: value }))
    this.export(kind, name, help, [label], Object.values(tallies))
    return tallies
  }

  /** Numbers for labels whose values are not known yet. */
  values(kind: Kind, name: string, help: string, labelNames: readonly string[]): LabelledValues {
    const tallies = new LabelledValues()
    this.export(kind, name, help, labelNames, tallies)
    return tallies
  }

  histogram(name: string, help: string, bounds: readonly number[]): LabelledHistogram {
    const observations = new LabelledHistogram({}, bounds)
    this.exportHistogram(name, help, bounds, [observations])
    return observations
  }

  histogramPerLabel<V extends string>(
    name: string,
    help: string,
    bounds: readonly number[],
    label: string,
    values: readonly V[],
  ): Readonly<Record<V, LabelledHistogram>> {
    const observed = recordOf(values, (value) => new LabelledHistogram({ [label]: value }, bounds))
    this.exportHistogram(name, help, bounds, Object.values(observed))
    return observed
  }

  private export(
    kind: Kind,
    name: string,
    help: string,
    labelNames: readonly string[],
    tallies: Iterable<LabelledValue>,
  ): void {
    new kind({
      name: `${this.prefix}${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset()
        for (const { labels, value } of tallies) this.inc({ ...labels }, value)
      },
    })
  }

  private exportHistogram(
    name: string,
    help: string,
    bounds: readonly number[],
    observed: readonly LabelledHistogram[],
  ): void {
    const histogram = new HistogramMetric(`${this.prefix}${name}`, help, bounds, observed)
    // All that a registry uses of a metric is its name and `get`; the library declares its own kinds only.
    this.registry.registerMetric(histogram as unknown as Metric<string>)
  }
}

function recordOf<V extends string, T>(values: readonly V[], make: (value: V) => T): Readonly<Record<V, T>> {
  return Object.fromEntries(values.map((value) => [value, make(value)])) as Record<V, T>
}
