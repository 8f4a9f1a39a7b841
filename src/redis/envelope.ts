import { decodeExtras, type EntryExtras, encodeExtras, NO_EXTRAS } from './entry-extras.js'

/**
 * The relay message: what nodes say to each other through Redis.
 *
 *     byte     version, 1
 *     uint8    length of the epoch; 0 if the entries have no place in a stream
 *     [        the epoch (letters, digits, - and _), then
 *     float64  offset of the first entry, big-endian; each further entry has the next one]
 *     then one or more entries, each:
 *     uint32   length of the rest of the entry, big-endian
 *     uint8    kind: 1 publication, 2 join, 3 leave, 4 control
 *     uint8    flags: 1 binary, 2 a client id follows the time, 4 the payload is one line of JSON, 8 extras follow
 *     float64  Unix time of publish in milliseconds, big-endian
 *     [uint8   length of the client id, then its bytes (ASCII)]
 *     [uint32  length of the extras, big-endian, then their JSON: `info` and `tags` of a publication]
 *     …        payload, to the end of the entry
 *
 * What comes before the entries can be put there without touching them, as the scripts that give them their offsets
 * do; streams keep entries one by one. The header is readable without touching the payload. Anything may be published
 * into a Redis, so a message that is not exactly this is refused as a whole.
 */
const VERSION = 1
const KINDS = ['publication', 'join', 'leave', 'control'] as const
const FLAG_BINARY = 1
const FLAG_CLIENT = 2
const FLAG_JSON = 4
const FLAG_EXTRAS = 8
const ALL_FLAGS = FLAG_BINARY | FLAG_CLIENT | FLAG_JSON | FLAG_EXTRAS
const LENGTH_BYTES = 4
const HEADER_BYTES = 10
/** Of the version and the epoch's length. */
const OPENING_BYTES = 2
const OFFSET_BYTES = 8

export type EntryKind = (typeof KINDS)[number]

/** A place in a channel's stream, which is named by its epoch. */
export interface StreamPosition {
  readonly epoch: string
  readonly offset: number
}

export interface Entry extends EntryExtras {
  readonly kind: EntryKind
  readonly isBinary: boolean
  /** Whether the payload is known to be one line of JSON. */
  readonly isJson: boolean
  /** The client that must not get it; at most 255 bytes of ASCII. */
  readonly client: string | undefined
  readonly timeMs: number
  readonly payload: Uint8Array
}

/** An entry that says nothing of its payload. */
export function plainEntry(part: Pick<Entry, 'kind' | 'client' | 'timeMs' | 'payload'>): Entry {
  return { isBinary: false, isJson: false, ...NO_EXTRAS, ...part }
}

export interface RelayMessage {
  /** Of the first entry; the others follow it. Undefined for what is in no stream. */
  readonly position: StreamPosition | undefined
  readonly entries: readonly Entry[]
}

export class MalformedMessage extends Error {}

/** One entry, ready to be put behind others in a message. */
export function encodeEntry(one: Entry): Buffer {
  const { kind, isBinary, isJson, client, timeMs, payload } = one
  const clientBytes = client === undefined ? 0 : 1 + client.length
  const extras = encodeExtras(one)
  const extrasBytes = extras === undefined ? 0 : LENGTH_BYTES + extras.length
  const length = HEADER_BYTES + clientBytes + extrasBytes + payload.byteLength
  const entry = Buffer.allocUnsafe(LENGTH_BYTES + length)
  entry.writeUInt32BE(length, 0)
  entry[4] = KINDS.indexOf(kind) + 1
  entry[5] =
    (isBinary ? FLAG_BINARY : 0) |
    (client === undefined ? 0 : FLAG_CLIENT) |
    (isJson ? FLAG_JSON : 0) |
    (extras === undefined ? 0 : FLAG_EXTRAS)
  entry.writeDoubleBE(timeMs, 6)
  let offset = LENGTH_BYTES + HEADER_BYTES
  if (client !== undefined) {
    entry[offset] = client.length
    entry.write(client, offset + 1, 'latin1')
    offset += clientBytes
  }
  if (extras !== undefined) {
    entry.writeUInt32BE(extras.length, offset)
    entry.set(extras, offset + LENGTH_BYTES)
    offset += extrasBytes
  }
  entry.set(payload, offset)
  return entry
}

const PLAIN_OPENING = Buffer.of(VERSION, 0)

/** One message of entries that are in no stream, in their order. */
export function encodeMessage(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([PLAIN_OPENING, ...entries])
}

/** What a message holds; payloads are views into it. Throws MalformedMessage. */
export function decodeMessage(message: Buffer): RelayMessage {
  if (message[0] !== VERSION) throw new MalformedMessage('unknown version')
  const epochBytes = message[1] ?? 0
  let offset = OPENING_BYTES + (epochBytes === 0 ? 0 : epochBytes + OFFSET_BYTES)
  if (message.length <= offset) throw new MalformedMessage('no entry')
  const position = epochBytes === 0 ? undefined : decodePosition(message, epochBytes)
  const entries: Entry[] = []
  while (offset < message.length) {
    const end = endOfEntry(message, offset)
    entries.push(decodeEntryBetween(message, offset + LENGTH_BYTES, end))
    offset = end
  }
  return { position, entries }
}

/** An entry that is alone, as streams keep it; the payload is a view into it. Throws MalformedMessage. */
export function decodeEntry(entry: Buffer): Entry {
  const end = endOfEntry(entry, 0)
  if (end !== entry.length) throw new MalformedMessage('more than an entry')
  return decodeEntryBetween(entry, LENGTH_BYTES, end)
}

function decodePosition(message: Buffer, epochBytes: number): StreamPosition {
  const epochEnd = OPENING_BYTES + epochBytes
  const epoch = message.toString('latin1', OPENING_BYTES, epochEnd)
  const offset = message.readDoubleBE(epochEnd)
  if (!/^[\w-]+$/.test(epoch)) throw new MalformedMessage('no epoch')
  if (!Number.isSafeInteger(offset) || offset < 1) throw new MalformedMessage('no offset')
  return { epoch, offset }
}

function endOfEntry(bytes: Buffer, offset: number): number {
  const start = offset + LENGTH_BYTES
  if (start > bytes.length) throw new MalformedMessage('cut short')
  const end = start + bytes.readUInt32BE(offset)
  if (end > bytes.length || end < start + HEADER_BYTES) throw new MalformedMessage('wrong length')
  return end
}

function decodeEntryBetween(bytes: Buffer, start: number, end: number): Entry {
  const kind = KINDS[(bytes[start] ?? 0) - 1]
  const flags = bytes[start + 1] ?? 0
  if (kind === undefined || (flags & ~ALL_FLAGS) !== 0) throw new MalformedMessage('unknown kind or flag')
  const timeMs = bytes.readDoubleBE(start + 2)
  if (!Number.isFinite(timeMs)) throw new MalformedMessage('no time')
  let offset = start + HEADER_BYTES
  let client: string | undefined
  if ((flags & FLAG_CLIENT) !== 0) {
    const clientStart = offset + 1
    offset = clientStart + (bytes[offset] ?? 0)
    if (clientStart > end || offset > end) throw new MalformedMessage('wrong client length')
    client = bytes.toString('latin1', clientStart, offset)
  }
  let extras: EntryExtras | undefined = NO_EXTRAS
  if ((flags & FLAG_EXTRAS) !== 0) {
    const extrasStart = offset + LENGTH_BYTES
    if (extrasStart > end) throw new MalformedMessage('extras cut short')
    offset = extrasStart + bytes.readUInt32BE(offset)
    if (offset > end) throw new MalformedMessage('wrong length of extras')
    extras = decodeExtras(bytes.toString('utf8', extrasStart, offset))
    if (extras === undefined) throw new MalformedMessage('wrong extras')
  }
  return {
    kind,
    isBinary: (flags & FLAG_BINARY) !== 0,
    isJson: (flags & FLAG_JSON) !== 0,
    info: extras.info,
    tags: extras.tags,
    client,
    timeMs,
    payload: bytes.subarray(offset, end),
  }
}
