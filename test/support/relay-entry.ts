const KINDS = ['publication', 'join', 'leave', 'control'] as const
const FLAG_CLIENT = 2

/** Encodes an entry by its documented format, including entries that no node would write. */
export function relayEntry({
  kind,
  client,
  payload,
}: {
  /** A number for a kind that has no name yet. */
  kind: (typeof KINDS)[number] | number
  client?: string | undefined
  payload: string | Uint8Array
}): Buffer {
  const header = Buffer.alloc(14)
  header[4] = typeof kind === 'number' ? kind : KINDS.indexOf(kind) + 1
  header[5] = client === undefined ? 0 : FLAG_CLIENT
  header.writeDoubleBE(1, 6)
  const clientBytes = client === undefined ? [] : [Buffer.of(client.length), Buffer.from(client)]
  const entry = Buffer.concat([header, ...clientBytes, Buffer.from(payload)])
  entry.writeUInt32BE(entry.length - 4, 0)
  return entry
}
