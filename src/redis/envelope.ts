/**
 * The relay message: what nodes say to each other through Redis.
 *
 *     byte     version, 1
 *     then one or more entries, each:
 *     uint32   length of the rest of the entry, big-endian
 *     uint8    kind: 1 publication, 2 join, 3 leave, 4 control
 *     uint8    flags: 1 binary, 2 a client id follows the time
 *     float64  Unix time of publish in milliseconds, big-endian
 *     [uint8   length of the client id, then its bytes (ASCII)]
 *     …        payload, to the end of the entry
 *
 * The header is readable without touching the payload. Anything may be published into a Redis, so a message that is not
 * exactly this is refused as a whole.
 */
const VERSION = 1
const KINDS = ['publication', 'join', 'leave', 'control'] as const
const FLAG_BINARY = 1
const FLAG_CLIENT = 2
const LENGTH_BYTES = 4
const HEADER_BYTES = 10

export type EntryKind = (typeof KINDS)[number]

export interface Entry {
  readonly kind: EntryKind
  readonly isBinary: boolean
  /** The client that must not get it; at most 255 bytes of ASCII. */
  readonly client: string | undefined
  readonly timeMs: number
  readonly payload: Uint8Array
}

export class MalformedMessage extends Error {}

/** One entry, ready to be put behind others in a message. */
export function encodeEntry({ kind, isBinary, client, timeMs, payload }: Entry): Buffer {
  const clientBytes = client === undefined ? 0 : 1 + client.length
  const length = HEADER_BYTES + clientBytes + payload.byteLength
  const entry = Buffer.allocUnsafe(LENGTH_BYTES + length)
  entry.writeUInt32BE(length, 0)
  entry[4] = KINDS.indexOf(kind) + 1
  entry[5] = (isBinary ? FLAG_BINARY : 0) | (client === undefined ? 0 : FLAG_CLIENT)
  entry.writeDoubleBE(timeMs, 6)
  if (client !== undefined) {
    entry[14] = client.length
    entry.write(client, 15, 'latin1')
  }
  entry.set(payload, LENGTH_BYTES + HEADER_BYTES + clientBytes)
  return entry
}

const VERSION_BYTE = Buffer.of(VERSION)

/** One message of entries, in their order. */
export function encodeMessage(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([VERSION_BYTE, ...entries])
}

/** The entries of a message; payloads are views into it. Throws MalformedMessage. */
export function decodeMessage(message: Buffer): Entry[] {
  if (message[0] !== VERSION) throw new MalformedMessage('unknown version')
  if (message.length === 1) throw new MalformedMessage('no entry')
  const entries: Entry[] = []
  let offset = 1
  while (offset < message.length) {
    if (offset + LENGTH_BYTES > message.length) throw new MalformedMessage('cut short')
    const start = offset + LENGTH_BYTES
    const end = start + message.readUInt32BE(offset)
    if (end > message.length || end < start + HEADER_BYTES) throw new MalformedMessage('wrong length')
    entries.push(decodeEntry(message, start, end))
    offset = end
  }
  return entries
}

function decodeEntry(message: Buffer, start: number, end: number): Entry {
  const kind = KINDS[(message[start] ?? 0) - 1]
  const flags = message[start + 1] ?? 0
  if (kind === undefined || (flags & ~(FLAG_BINARY | FLAG_CLIENT)) !== 0) {
    throw new MalformedMessage('unknown kind or flag')
  }
  const timeMs = message.readDoubleBE(start + 2)
  if (!Number.isFinite(timeMs)) throw new MalformedMessage('no time')
  let payloadStart = start + HEADER_BYTES
  let client: string | undefined
  if ((flags & FLAG_CLIENT) !== 0) {
    const clientStart = payloadStart + 1
    payloadStart = clientStart + (message[payloadStart] ?? 0)
    if (clientStart > end || payloadStart > end) throw new MalformedMessage('wrong client length')
    client = message.toString('latin1', clientStart, payloadStart)
  }
  return {
    kind,
    isBinary: (flags & FLAG_BINARY) !== 0,
    client,
    timeMs,
    payload: message.subarray(payloadStart, end),
  }
}
