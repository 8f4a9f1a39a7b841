import { timingSafeEqual } from 'node:crypto'

/** A secret whose comparison takes the same time however much of the candidate is right. */
export class Secret {
  private readonly bytes: Buffer
  /** The candidate as bytes. Reused by every comparison, so that a handshake allocates nothing for it. */
  private readonly candidateBytes: Buffer

  constructor(value: string) {
    this.bytes = Buffer.from(value)
    this.candidateBytes = Buffer.alloc(this.bytes.length)
  }

  /**
   * Returns early for another length: the length is no secret, and nearly all other tokens (every JWT) differ in it.
   */
  equals(candidate: string): boolean {
    if (Buffer.byteLength(candidate) !== this.bytes.length) return false
    this.candidateBytes.write(candidate)
    return timingSafeEqual(this.bytes, this.candidateBytes)
  }
}
