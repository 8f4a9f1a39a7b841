import { randomUUID } from 'node:crypto'

/** A random epoch for a new stream: 48 bits in hex, so that no two streams of a channel share an epoch. */
export function randomEpoch(): string {
  return randomUUID().replaceAll('-', '').slice(-12)
}

/**
 * How long the epoch of a stream without publications is stored. Reading a stream creates its epoch, so that a client
 * could otherwise leave very many behind by reading many channels.
 */
export const UNUSED_EPOCH_TTL_MS = 3_600_000
