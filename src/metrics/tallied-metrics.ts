import type { Counter, Gauge, Metric, Registry } from 'prom-client'
import { Observations, TalliedHistogram } from './tallied-histogram.js'
import { Tallies, Tally } from './tally.js'

type Kind = typeof Counter | typeof Gauge

/**
 * Metrics that are plain numbers until somebody looks: those of prom-client make objects and texts of their labels each
 * time. All are exported from the start, whether or not there is anything to count yet.
 */
export class TalliedMetrics {
  constructor(
    private readonly registry: Registry,
    private readonly prefix: string,
  ) {}

  /** One number, without labels. */
  tally(kind: Kind, name: string, help: string): Tally {
    const tally = new Tally({})
    this.export(kind, name, help, [], [tally])
    return tally
  }

  /** A number for each of the values of a label. */
  tallyEach<V extends string>(
    kind: Kind,
    name: string,
    help: string,
    label: string,
    values: readonly V[],
  ): Readonly<Record<V, Tally>> {
    const tallies = recordOf(values, (value) => new Tally({ [label]: value }))
    this.export(kind, name, help, [label], Object.values(tallies))
    return tallies
  }

  /** Numbers for labels whose values are not known yet. */
  tallies(kind: Kind, name: string, help: string, labelNames: readonly string[]): Tallies {
    const tallies = new Tallies()
    this.export(kind, name, help, labelNames, tallies)
    return tallies
  }

  histogram(name: string, help: string, bounds: readonly number[]): Observations {
    const observations = new Observations({}, bounds)
    this.exportHistogram(name, help, bounds, [observations])
    return observations
  }

  histogramEach<V extends string>(
    name: string,
    help: string,
    bounds: readonly number[],
    label: string,
    values: readonly V[],
  ): Readonly<Record<V, Observations>> {
    const observed = recordOf(values, (value) => new Observations({ [label]: value }, bounds))
    this.exportHistogram(name, help, bounds, Object.values(observed))
    return observed
  }

  private export(
    kind: Kind,
    name: string,
    help: string,
    labelNames: readonly string[],
    tallies: Iterable<Tally>,
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
    observed: readonly Observations[],
  ): void {
    const histogram = new TalliedHistogram(`${this.prefix}${name}`, help, bounds, observed)
    // All that a registry uses of a metric is its name and `get`; the library declares its own kinds only.
    this.registry.registerMetric(histogram as unknown as Metric<string>)
  }
}

function recordOf<V extends string, T>(values: readonly V[], make: (value: V) => T): Readonly<Record<V, T>> {
  return Object.fromEntries(values.map((value) => [value, make(value)])) as Record<V, T>
}
