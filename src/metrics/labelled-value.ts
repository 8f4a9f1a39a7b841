export type Labels = Readonly<Record<string, string>>

/** A counter or gauge for the hot path: an integer, and the labels it is exported with. */
export class LabelledValue {
  value = 0

  constructor(readonly labels: Labels) {}
}

/** The values of one metric, created with the first use of their labels. */
export class LabelledValues implements Iterable<LabelledValue> {
  private readonly byKey = new Map<string, LabelledValue>()

  /** The value with these labels. `key` must be unique to them. */
  getOrCreate(key: string, labels: Labels): LabelledValue {
    let value = this.byKey.get(key)
    if (value === undefined) {
      value = new LabelledValue(labels)
      this.byKey.set(key, value)
    }
    return value
  }

  [Symbol.iterator](): IterableIterator<LabelledValue> {
    return this.byKey.values()
  }
}
