import type { StreamPosition } from './envelope.js'
import { type EntryHandling, isSameCall } from './stream-calls.js'

/** The most that is packed into one relay message, unless a single entry is larger. */
const MAX_MESSAGE_BYTES = 256 * 1024

/** What an entry costs in memory beside its bytes: a promise, its place in the queue, a buffer's frame. Measured. */
const ENTRY_OVERHEAD_BYTES = 700
/** And one that is more than published: the keys of a channel with a long name, and what holds them. */
const HANDLING_OVERHEAD_BYTES = 1_000

/** An entry that waits, or is under way. */
export interface PendingEntry {
  readonly entry: Buffer
  /** Undefined for what is published and nothing else. */
  readonly handling: EntryHandling | undefined
  /** Control entries, such as probes, are none of those that the metric of batches is about. */
  readonly isControl: boolean
  readonly deadlineMs: number
  readonly resolve: (position: StreamPosition | undefined) => void
  readonly reject: (error: Error) => void
}

/** Entries that leave as one relay message, by one command. */
export interface PackedMessage {
  readonly redisChannel: string
  readonly handling: EntryHandling | undefined
  /** Whether further messages of its channel come behind it in the batch. */
  isFollowed: boolean
  readonly entries: PendingEntry[]
}

/** Bytes that an entry takes while it is pending. */
export function costOf({ entry, handling }: Pick<PendingEntry, 'entry' | 'handling'>): number {
  return entry.length + ENTRY_OVERHEAD_BYTES + (handling === undefined ? 0 : HANDLING_OVERHEAD_BYTES)
}

/**
 * Splits a channel's entries into messages that stay below the largest size and whose entries are handled alike, in
 * their order.
 */
export function pack(redisChannel: string, pending: readonly PendingEntry[]): PackedMessage[] {
  const messages: PackedMessage[] = []
  let message: PackedMessage | undefined
  let bytes = 0
  for (const one of pending) {
    bytes += one.entry.length
    if (message === undefined || bytes > MAX_MESSAGE_BYTES || !isSameCall(message.handling, one.handling)) {
      if (message !== undefined) message.isFollowed = true
      message = { redisChannel, handling: one.handling, isFollowed: false, entries: [] }
      messages.push(message)
      bytes = one.entry.length
    }
    message.entries.push(one)
  }
  return messages
}
