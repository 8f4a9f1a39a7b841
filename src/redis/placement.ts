/**
 * Places channels on several independent Redis: returns the index of the one that a channel is on. When one is added at the
 * end, or the last one removed, only the channels move that are on it then, or were: about one in `count`.
 */
export function createPlacement(count: number): (channel: string) => number {
  if (count === 1) return () => 0
  const seeds = Array.from({ length: count }, (_, index) => mix(index + 1))
  return (channel) => {
    const hash = hashOf(channel)
    let placed = 0
    let highest = -1
    // Rendezvous hashing: every Redis has a number for each channel, and the highest one has the channel.
    for (const [index, seed] of seeds.entries()) {
      const weight = mix(hash ^ seed)
      if (weight <= highest) continue
      highest = weight
      placed = index
    }
    return placed
  }
}

/** FNV-1a of the UTF-16 code units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash
}

/** Spreads a number over all 32 bits, so that two that differ in one bit have nothing in common: the end of MurmurHash3. */
function mix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
