import { timingSafeEqual } from 'node:crypto'

/** A secret to compare with in a time that does not tell how much of what was given is right. */
export class Secret {
  private readonly bytes: Buffer
  /** What was given, as bytes: kept from call to call, so that a handshake leaves no garbage for it. */
  private readonly given: Buffer

  constructor(value: string) {
    this.bytes = Buffer.from(value)
    this.given = Buffer.alloc(this.bytes.length)
  }

  /** The length is no secret, and of another length is nearly everything that is not the secret: every JWT. */
  equals(given: string): boolean {
    if (Buffer.byteLength(given) !== this.bytes.length) return false
    this.given.write(given)
    return timingSafeEqual(this.bytes, this.given)
  }
}
