/** Number of slots of a Redis Cluster. */
export const SLOTS = 16_384

/** The polynomial of CRC-16/XMODEM, which Redis Cluster uses. */
const POLYNOMIAL = 0x1021
const CRC_OF_BYTE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ POLYNOMIAL
  return crc
})

/** The slot of a Redis Cluster that a key, or a Redis channel, belongs to: that of its hash tag where it has one. */
export function slotOf(key: string): number {
  const start = key.indexOf('{')
  const end = start < 0 ? -1 : key.indexOf('}', start + 1)
  const bytes = Buffer.from(end > start + 1 ? key.slice(start + 1, end) : key)
  let crc = 0
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ (CRC_OF_BYTE[(crc >> 8) ^ byte] ?? 0)
  return crc % SLOTS
}
