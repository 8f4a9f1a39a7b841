/** The most bytes of a connection that may stay unread between two reads: of an unfinished frame or handshake. */
export const MAX_UNREAD_BYTES = 256 * 1024

const READ_BYTES = 64 * 1024

/**
 * The memory that all connections of a process read into, one after the other. A read is processed before the next one
 * begins, so that no connection needs a buffer of its own. What a connection left unread is put right before its new
 * bytes, so that both are one sequence.
 */
export class ReadBuffer {
  readonly bytes = Buffer.alloc(MAX_UNREAD_BYTES + READ_BYTES)
  readonly view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
  /** Where the operating system writes. */
  readonly readTarget = this.bytes.subarray(MAX_UNREAD_BYTES)

  /** Puts what was left unread before the new bytes, and returns the index at which it begins. */
  prepend(unread: Buffer | undefined): number {
    if (unread === undefined) return MAX_UNREAD_BYTES
    const start = MAX_UNREAD_BYTES - unread.length
    unread.copy(this.bytes, start)
    return start
  }
}
