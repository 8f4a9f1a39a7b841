import { createHash, timingSafeEqual } from 'node:crypto'

/** A secret to compare with, without keeping it or letting the time of a comparison tell how much of it was right. */
export class Secret {
  private readonly length: number
  private readonly digest: Buffer

  constructor(value: string) {
    this.length = value.length
    this.digest = digestOf(value)
  }

  /** The length is no secret, and of another length is nearly everything that is not the secret: every JWT. */
  equals(given: string): boolean {
    return given.length === this.length && timingSafeEqual(this.digest, digestOf(given))
  }
}

/** Of one length in bytes, too, as a comparison in constant time needs. */
function digestOf(value: string): Buffer {
  return createHash('sha256').update(value).digest()
}
