export type Labels = Readonly<Record<string, string>>

/** A counter or gauge for the hot path: an integer, and the labels it is exported with. */
export class Tally {
  value = 0

  constructor(readonly labels: Labels) {}
}

/** The tallies of one metric, made as they are needed. */
export class Tallies implements Iterable<Tally> {
  private readonly byKey = new Map<string, Tally>()

  /** @param key tells these labels from all others. */
  find(key: string, labels: Labels): Tally {
    let tally = this.byKey.get(key)
    if (tally === undefined) {
      tally = new Tally(labels)
      this.byKey.set(key, tally)
    }
    return tally
  }

  [Symbol.iterator](): IterableIterator<Tally> {
    return this.byKey.values()
  }
}
