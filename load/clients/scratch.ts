/** What a connection may leave unread between two reads: a frame begun, or a handshake's head. */
export const CARRY_BYTES = 256 * 1024

const READ_BYTES = 64 * 1024

/**
 * The memory that all connections of a process read into, one after the other: a read is used up before the next one
 * begins, so none needs a buffer of its own. What was left of a connection's last read is put right before the new
 * bytes, which makes them one piece.
 */
export class Scratch {
  readonly bytes = Buffer.alloc(CARRY_BYTES + READ_BYTES)
  readonly view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
  /** Where the operating system writes. */
  readonly target = this.bytes.subarray(CARRY_BYTES)

  /** Puts what was left before the new bytes and returns where it begins. */
  prepend(carry: Buffer | undefined): number {
    if (carry === undefined) return CARRY_BYTES
    const start = CARRY_BYTES - carry.length
    carry.copy(this.bytes, start)
    return start
  }
}
