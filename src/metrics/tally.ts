/** A counter or gauge for the hot path: an integer, and the labels it is exported with. */
export class Tally {
  value = 0

  constructor(readonly labels: Readonly<Record<string, string>>) {}
}
