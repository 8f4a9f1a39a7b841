const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPENING_BRACE = 0x7b
const OPENING: ReadonlySet<number> = new Set([0x5b, OPENING_BRACE])
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d])

/**
 * Returns the original text of a nested field, such as `data` of `{"publish":{"data":…}}`: parsed and written again,
 * numbers would lose digits. The text must be valid JSON. Undefined where the field is missing. Of fields with the same
 * name the last one counts, as for `JSON.parse`. Reads every character once.
 */
export function jsonFieldText(json: string, outer: string, inner: string): string | undefined {
  let depth = 0
  /** Where the current key or value begins. */
  let start = 0
  let outerKey: string | undefined
  let innerKey: string | undefined
  let isInOuterObject = false
  let found: string | undefined
  const endValue = (end: number) => {
    if (depth === 2 && isInOuterObject && innerKey === inner) found = json.slice(start, end).trim()
  }
  for (let at = 0; at < json.length; at++) {
    const character = json.charCodeAt(at)
    if (character === QUOTE) at = endOfString(json, at)
    else if (character === COLON) {
      if (depth === 1) {
        outerKey = JSON.parse(json.slice(start, at)) as string
        // The last field of this name counts, so that earlier ones are discarded with all that they contain.
        if (outerKey === outer) found = undefined
      } else if (depth === 2) innerKey = JSON.parse(json.slice(start, at)) as string
      if (depth <= 2) start = at + 1
    } else if (character === COMMA) {
      endValue(at)
      if (depth <= 2) start = at + 1
    } else if (OPENING.has(character)) {
      depth++
      if (depth === 2) {
        isInOuterObject = outerKey === outer && character === OPENING_BRACE
        innerKey = undefined
      }
      if (depth <= 2) start = at + 1
    } else if (CLOSING.has(character)) {
      endValue(at)
      if (depth === 2) isInOuterObject = false
      depth--
    }
  }
  return found
}

/** Index of the closing quote of the string that begins at `start`. */
function endOfString(json: string, start: number): number {
  let at = start + 1
  while (json.charCodeAt(at) !== QUOTE) at += json.charCodeAt(at) === BACKSLASH ? 2 : 1
  return at
}
