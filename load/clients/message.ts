import type { ReadBuffer } from './read-buffer.js'

/** The size that every figure of the benchmarks is for. */
export const MESSAGE_BYTES = 128

/**
 * A message is text that JSON has no need to escape: the sequence number as four characters of five bits each, counted
 * from `0`, then when the message was due.
 */
const DIGIT_BITS = 5
const DIGIT_ZERO = 0x30
const DUE_AT_BYTES = 5
const DUE_BYTES = 20

/** The first sequence number that does not fit into four such digits. */
export const MAX_SEQUENCE = 2 ** (4 * DIGIT_BITS)

/**
 * When this process started, by the clock that `hrtime` reads as a bigint. `performance.now()` reads the same clock and
 * costs less, but counts from the start of its process. The time between the two readings makes the difference too
 * small, so the largest of a few is the right one.
 */
const PROCESS_START_MS = Math.max(...Array.from({ length: 10 }, processStartMs))

function processStartMs(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now()
}

/** Milliseconds of a clock that all processes of this machine share and that is never adjusted. */
export function monotonicMs(): number {
  return PROCESS_START_MS + performance.now()
}

export function encodeMessage(sequence: number, dueMs: number): Buffer {
  const message = Buffer.alloc(MESSAGE_BYTES, '.')
  for (let index = 0; index < 4; index += 1) {
    const digit = (sequence >> ((3 - index) * DIGIT_BITS)) & (2 ** DIGIT_BITS - 1)
    message[index] = DIGIT_ZERO + digit
  }
  message.write(` ${dueMs.toFixed(3).padStart(DUE_BYTES)} `, DUE_AT_BYTES - 1, 'latin1')
  return message
}

/** Called for each delivery, so it neither allocates nor makes a string. */
export function sequenceAt(view: DataView, at: number): number {
  return (
    ((view.getUint8(at) - DIGIT_ZERO) << 15) |
    ((view.getUint8(at + 1) - DIGIT_ZERO) << 10) |
    ((view.getUint8(at + 2) - DIGIT_ZERO) << 5) |
    (view.getUint8(at + 3) - DIGIT_ZERO)
  )
}

/** When the message at `at` was due, in monotonic ms. */
export function dueMsAt(buffer: ReadBuffer, at: number): number {
  return Number(buffer.bytes.toString('latin1', at + DUE_AT_BYTES, at + DUE_AT_BYTES + DUE_BYTES))
}
