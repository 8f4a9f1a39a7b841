/**
 * Whether a name matches a pattern in which `*` stands for any number of characters and `?` for one. Takes time linear
 * in the length of the name for each `*`, so that no pattern takes long.
 */
export function matchesGlob(pattern: string, name: string): boolean {
  let patternAt = 0
  let nameAt = 0
  /** The last `*` seen, and where in the name its match ends for now. */
  let starAt = -1
  let starEnd = 0
  while (nameAt < name.length) {
    if (pattern[patternAt] === '*') {
      starAt = patternAt++
      starEnd = nameAt
    } else if (
      patternAt < pattern.length &&
      (pattern[patternAt] === '?' || pattern[patternAt] === name[nameAt])
    ) {
      patternAt++
      nameAt++
    } else if (starAt >= 0) {
      // Go back to the last `*` and let it match one more character.
      patternAt = starAt + 1
      nameAt = ++starEnd
    } else {
      return false
    }
  }
  while (pattern[patternAt] === '*') patternAt++
  return patternAt === pattern.length
}
