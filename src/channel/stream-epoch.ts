import { randomUUID } from 'node:crypto'

/** A name for a new stream: 48 random bits in hex, so that no two streams of a channel ever share one. */
export function randomEpoch(): string {
  return randomUUID().replaceAll('-', '').slice(-12)
}
