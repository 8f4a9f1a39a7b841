import { randomUUID } from 'node:crypto'

/** A name for a new stream: 48 random bits in hex, so that no two streams of a channel ever share one. */
export function randomEpoch(): string {
  return randomUUID().replaceAll('-', '').slice(-12)
}

/**
 * The longest that an epoch in which nothing was published is remembered: whoever reads begins one, so that a client
 * could leave very many behind.
 */
export const UNUSED_EPOCH_TTL_MS = 3_600_000
