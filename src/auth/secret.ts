import { createHash, timingSafeEqual } from 'node:crypto'

/** A secret to compare with, without keeping it or letting the time of a comparison tell how much of it was right. */
export class Secret {
  private readonly digest: Buffer

  constructor(value: string) {
    this.digest = digestOf(value)
  }

  equals(given: string): boolean {
    return timingSafeEqual(this.digest, digestOf(given))
  }
}

/** Of one length whatever is given, as a comparison in constant time needs. */
function digestOf(value: string): Buffer {
  return createHash('sha256').update(value).digest()
}
