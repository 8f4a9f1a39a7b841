export type Labels = Readonly<Record<string, string>>

/** A counter or gauge for the hot path: an integer, and the labels it is exported with. */
export class LabelledValue {
  value = 0

  constructor(readonly labels: Labels) {}
}

/** The tallies of one metric, made as they are needed. */
export class LabelledValues implements Iterable<LabelledValue> {
  private readonly byKey = new Map<string, LabelledValue>()

  /** @param key tells these labels from all others. */
  find(key: string, labels: Labels): LabelledValue {
    let tally = this.byKey.get(key)
    if (tally === undefined) {
      tally = new LabelledValue(labels)
      this.byKey.set(key, tally)
    }
    return tally
  }

  [Symbol.iterator](): IterableIterator<LabelledValue> {
    return this.byKey.values()
  }
}
