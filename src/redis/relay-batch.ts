import type { StreamPosition } from '../protocol/publication.js'

/** The most bytes of entries in one relay message, unless a single entry is larger. */
const MAX_MESSAGE_BYTES = 256 * 1024

/** Memory of a queued entry beside its bytes: a promise, a place in the queue, a Buffer object. Measured. */
const ENTRY_OVERHEAD_BYTES = 700
/** Further memory of an entry with storage: the keys of a channel with a long name, and the objects that contain them. */
const STORAGE_OVERHEAD_BYTES = 1_000

/** The keys of a channel's stream. */
export interface StreamKeys {
  readonly meta: string
  readonly stream: string
}

/** What Redis keeps of an entry, beside relaying it. */
export interface EntryStorage {
  /** The stream that keeps it: how many entries, and for how many milliseconds. */
  readonly stream:
    | (StreamKeys & { readonly size: number; readonly ttlMs: number; readonly metaTtlMs: number })
    | undefined
  /** The key that keeps the result, and for how long. While there is a result the entry is not relayed. */
  readonly idempotency: { readonly resultKey: string; readonly ttlMs: number } | undefined
}

/** An entry that waits for Redis, or whose answer is awaited. */
export interface PendingEntry {
  readonly entry: Buffer
  /** Undefined for an entry that is relayed and nothing else. */
  readonly storage: EntryStorage | undefined
  /** Control entries, such as probes, are left out of the metric of batch sizes. */
  readonly isControl: boolean
  readonly deadlineMs: number
  /** Whether its publisher has an answer. */
  isSettled: boolean
  readonly resolve: (position: StreamPosition | undefined) => void
  readonly reject: (error: Error) => void
}

/** Entries that leave as one relay message, by one command. */
export interface PackedMessage {
  readonly redisChannel: string
  readonly storage: EntryStorage | undefined
  /** Whether further messages of its channel follow it in the batch. */
  isFollowed: boolean
  readonly entries: PendingEntry[]
}

/** Bytes of memory that an entry takes while it is pending. */
export function memoryOf({ entry, storage }: Pick<PendingEntry, 'entry' | 'storage'>): number {
  return entry.length + ENTRY_OVERHEAD_BYTES + (storage === undefined ? 0 : STORAGE_OVERHEAD_BYTES)
}

/** Packs the entries of a channel, in their order, into messages below the largest size whose entries share a script call. */
export function pack(redisChannel: string, pending: readonly PendingEntry[]): PackedMessage[] {
  const messages: PackedMessage[] = []
  let message: PackedMessage | undefined
  let bytes = 0
  for (const one of pending) {
    bytes += one.entry.length
    if (message === undefined || bytes > MAX_MESSAGE_BYTES || !canShareCall(message.storage, one.storage)) {
      if (message !== undefined) message.isFollowed = true
      message = { redisChannel, storage: one.storage, isFollowed: false, entries: [] }
      messages.push(message)
      bytes = one.entry.length
    }
    message.entries.push(one)
  }
  return messages
}

/** Whether one script call can relay two entries of one channel. */
function canShareCall(a: EntryStorage | undefined, b: EntryStorage | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  if (a.stream === undefined || b.stream === undefined) return false
  if (a.idempotency !== undefined || b.idempotency !== undefined) return false
  const { size, ttlMs, metaTtlMs } = a.stream
  return size === b.stream.size && ttlMs === b.stream.ttlMs && metaTtlMs === b.stream.metaTtlMs
}
