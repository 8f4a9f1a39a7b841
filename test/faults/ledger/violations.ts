import type { Property, Violation } from './events.js'

/** Violations of one property that are described; further ones are counted. */
const MAX_DESCRIBED = 3

/** Counts violations, and describes the first of each property. */
export class Violations {
  readonly counts: Record<Property, number> = {
    P1: 0,
    P2: 0,
    P3: 0,
    P4: 0,
    P5: 0,
    P6: 0,
    P7: 0,
    P8: 0,
    P9: 0,
    P10: 0,
  }
  readonly described: Violation[] = []

  add(property: Property, channel: string, text: string, trail: readonly string[] = []): void {
    const count = ++this.counts[property]
    if (count <= MAX_DESCRIBED) this.described.push({ property, channel, text, trail: [...trail] })
  }
}
