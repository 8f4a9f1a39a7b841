import type { ChannelEvent, PresenceEvent, Publication, StreamPosition } from '../protocol/publication.js'
import { decodePresencePayload, encodePresencePayload } from './presence-payload.js'
import { decodeExtras, encodeExtras, NO_EXTRAS, type PublicationExtras } from './publication-extras.js'

/**
 * The relay message: how nodes send events to each other through Redis.
 *
 *     byte     version, 1
 *     uint8    length of the epoch; 0 if the entries are in no stream
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
 * The scripts that assign offsets put the header in front of the entries without reading them, and streams keep each
 * entry by itself. Any process can publish to a Redis channel, so a message that does not follow this format is refused
 * as a whole.
 *
 * Nodes of two versions share a Redis during a rolling upgrade, so a node leaves out what a later version may add:
 *
 * - further kinds, from 5 on. Length, kind, flags and time are where they are in every entry. In a stream the offset of
 *   such an entry counts as delivered, unless the kind is 128 or more: clients must not miss that one, and it is a gap.
 * - the flags 16, 32, 64 and 128, which add no bytes to an entry.
 * - further members of the extras, and of the payload of joins and leaves.
 *
 * A change that fits none of these takes a new version of the message.
 */
const VERSION = 1
const KINDS = ['publication', 'join', 'leave', 'control'] as const
/** Kinds from this one on must not be missed by clients. */
const FIRST_REQUIRED_KIND = 128
const FLAG_BINARY = 1
const FLAG_CLIENT = 2
const FLAG_JSON = 4
const FLAG_EXTRAS = 8
const LENGTH_BYTES = 4
/** Kind, flags and time of an entry. */
const ENTRY_HEADER_BYTES = 10
/** Version and length of the epoch. */
const MESSAGE_HEADER_BYTES = 2
const OFFSET_BYTES = 8
const NO_BYTES = new Uint8Array(0)

/** A message that nodes send each other beside channel events. */
export interface ControlEvent {
  readonly type: 'control'
  readonly payload: Uint8Array
}

export type RelayEvent = ChannelEvent | ControlEvent

/** The bytes are not a relay message of this version. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage'
}

/** The parts of an entry; how its payload is read depends on the kind. */
interface EntryParts {
  readonly kind: RelayEvent['type']
  readonly flags: number
  readonly timeMs: number
  /** At most 255 bytes of ASCII. */
  readonly client: string | undefined
  readonly extras: Buffer | undefined
  readonly payload: Uint8Array
}

/** Encodes an event as an entry, which `encodeMessage` or a script puts into a message. Copies the payload. */
export function encodeEntry(event: RelayEvent): Buffer {
  if (event.type === 'publication') {
    const { type, isBinary, isJson, excludedClient, publishedAtMs, data } = event
    return encodeParts({
      kind: type,
      flags: (isBinary ? FLAG_BINARY : 0) | (isJson ? FLAG_JSON : 0),
      timeMs: publishedAtMs,
      client: excludedClient,
      extras: encodeExtras(event),
      payload: data,
    })
  }
  const isControl = event.type === 'control'
  return encodeParts({
    kind: event.type,
    flags: 0,
    timeMs: Date.now(),
    client: isControl ? undefined : event.info.client,
    extras: undefined,
    payload: isControl ? event.payload : encodePresencePayload(event),
  })
}

function encodeParts({ kind, flags, timeMs, client, extras, payload }: EntryParts): Buffer {
  const clientBytes = client === undefined ? 0 : 1 + client.length
  const extrasBytes = extras === undefined ? 0 : LENGTH_BYTES + extras.length
  const length = ENTRY_HEADER_BYTES + clientBytes + extrasBytes + payload.byteLength
  const entry = Buffer.allocUnsafe(LENGTH_BYTES + length)
  entry.writeUInt32BE(length, 0)
  entry[4] = KINDS.indexOf(kind) + 1
  entry[5] = flags | (client === undefined ? 0 : FLAG_CLIENT) | (extras === undefined ? 0 : FLAG_EXTRAS)
  entry.writeDoubleBE(timeMs, 6)
  let offset = LENGTH_BYTES + ENTRY_HEADER_BYTES
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

const HEADER_WITHOUT_STREAM = Buffer.of(VERSION, 0)

/** Encodes one message of entries that are in no stream, in their order. */
export function encodeMessage(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([HEADER_WITHOUT_STREAM, ...entries])
}

/**
 * Decodes the events of a message, in order. Their data and payloads are views into the message. An entry of a kind that
 * this version does not know becomes a publication with `isUnknown`.
 *
 * When thousands of clients reconnect at once, decoding joins and leaves that no subscriber watches would be a good part
 * of what they cost: `isWatched` decides which are left out unread.
 * @throws MalformedMessage
 */
export function decodeMessage(
  message: Buffer,
  isWatched: (type: PresenceEvent['type']) => boolean = () => true,
): RelayEvent[] {
  if (message[0] !== VERSION) throw new MalformedMessage('unknown version')
  const epochBytes = message[1] ?? 0
  let offset = MESSAGE_HEADER_BYTES + (epochBytes === 0 ? 0 : epochBytes + OFFSET_BYTES)
  if (message.length <= offset) throw new MalformedMessage('no entry')
  const first = epochBytes === 0 ? undefined : decodePosition(message, epochBytes)
  const events: RelayEvent[] = []
  for (let index = 0; offset < message.length; index++) {
    const end = endOfEntry(message, offset)
    const position = first && { epoch: first.epoch, offset: first.offset + index }
    const event = decodeEntry(message, { start: offset + LENGTH_BYTES, end }, position, isWatched)
    if (event !== undefined) events.push(event)
    offset = end
  }
  return events
}

/**
 * Decodes an entry as streams keep it. The data is a view into it. One of an unknown kind becomes a publication with
 * `isUnknown`.
 * @throws MalformedMessage, also where the entry is no publication, or of an unknown kind that must not be missed
 */
export function decodeStreamEntry(entry: Buffer, position: StreamPosition): Publication {
  const end = endOfEntry(entry, 0)
  if (end !== entry.length) throw new MalformedMessage('more than an entry')
  const event = decodeEntry(entry, { start: LENGTH_BYTES, end }, position, () => true)
  if (event?.type !== 'publication') throw new MalformedMessage('no publication')
  if (event.position === undefined)
    throw new MalformedMessage('a kind of a later version that must not be missed')
  return event
}

function decodePosition(message: Buffer, epochBytes: number): StreamPosition {
  const epochEnd = MESSAGE_HEADER_BYTES + epochBytes
  const epoch = message.toString('latin1', MESSAGE_HEADER_BYTES, epochEnd)
  const offset = message.readDoubleBE(epochEnd)
  if (!/^[\w-]+$/.test(epoch)) throw new MalformedMessage('no epoch')
  if (!Number.isSafeInteger(offset) || offset < 1) throw new MalformedMessage('no offset')
  return { epoch, offset }
}

function endOfEntry(bytes: Buffer, offset: number): number {
  const start = offset + LENGTH_BYTES
  if (start > bytes.length) throw new MalformedMessage('cut short')
  const end = start + bytes.readUInt32BE(offset)
  if (end > bytes.length || end < start + ENTRY_HEADER_BYTES) throw new MalformedMessage('wrong length')
  return end
}

/** Returns undefined for a join or leave that is not watched. */
function decodeEntry(
  bytes: Buffer,
  { start, end }: { readonly start: number; readonly end: number },
  position: StreamPosition | undefined,
  isWatched: (type: PresenceEvent['type']) => boolean,
): RelayEvent | undefined {
  const kindNumber = bytes[start] ?? 0
  if (kindNumber >= FIRST_REQUIRED_KIND) return unknownPublication(undefined)
  if (kindNumber > KINDS.length) return unknownPublication(position)
  const kind = KINDS[kindNumber - 1]
  if (kind === undefined) throw new MalformedMessage('no kind')
  const flags = bytes[start + 1] ?? 0
  if ((kind === 'join' || kind === 'leave') && !isWatched(kind)) return undefined
  const timeMs = bytes.readDoubleBE(start + 2)
  if (!Number.isFinite(timeMs)) throw new MalformedMessage('no time')
  let offset = start + ENTRY_HEADER_BYTES
  let client: string | undefined
  if ((flags & FLAG_CLIENT) !== 0) {
    const clientStart = offset + 1
    offset = clientStart + (bytes[offset] ?? 0)
    if (clientStart > end || offset > end) throw new MalformedMessage('wrong client length')
    client = bytes.toString('latin1', clientStart, offset)
  }
  let extras: PublicationExtras | undefined = NO_EXTRAS
  if ((flags & FLAG_EXTRAS) !== 0) {
    const extrasStart = offset + LENGTH_BYTES
    if (extrasStart > end) throw new MalformedMessage('extras cut short')
    offset = extrasStart + bytes.readUInt32BE(offset)
    if (offset > end) throw new MalformedMessage('wrong length of extras')
    extras = decodeExtras(bytes.toString('utf8', extrasStart, offset))
    if (extras === undefined) throw new MalformedMessage('wrong extras')
  }
  if (kind === 'publication') {
    return {
      type: kind,
      data: bytes.subarray(offset, end),
      isBinary: (flags & FLAG_BINARY) !== 0,
      isJson: (flags & FLAG_JSON) !== 0,
      info: extras.info,
      tags: extras.tags,
      position,
      excludedClient: client,
      publishedAtMs: timeMs,
      isUnknown: false,
    }
  }
  // Scripts give offsets to publications only.
  if (position !== undefined) throw new MalformedMessage('no publication')
  if (kind === 'control') return { type: kind, payload: bytes.subarray(offset, end) }
  const event =
    client === undefined
      ? undefined
      : decodePresencePayload(kind, client, bytes.toString('utf8', offset, end))
  if (event === undefined) throw new MalformedMessage('no client')
  return event
}

/** An entry of a kind that only a later version knows. Without a position it is missing in a stream: a gap. */
function unknownPublication(position: StreamPosition | undefined): Publication {
  return {
    type: 'publication',
    data: NO_BYTES,
    isBinary: false,
    isJson: false,
    info: undefined,
    tags: undefined,
    position,
    excludedClient: undefined,
    publishedAtMs: 0,
    isUnknown: true,
  }
}
