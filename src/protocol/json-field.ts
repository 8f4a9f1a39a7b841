const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPENING_BRACE = 0x7b
const OPENING: ReadonlySet<number> = new Set([0x5b, OPENING_BRACE])
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d])

/**
 * The text of a member of a member, `data` of `{"publish":{"data":…}}`, in a text that is known to be JSON: parsed and
 * written again, numbers would lose digits. Undefined where there is none. Of members that come twice the last counts,
 * as for `JSON.parse`. Looks at every character once.
 */
export function jsonFieldText(json: string, outer: string, inner: string): string | undefined {
  let depth = 0
  /** Where the key or the value begins that is being read, and the keys above it. */
  let start = 0
  let outerKey: string | undefined
  let innerKey: string | undefined
  let isInner = false
  let found: string | undefined
  const endValue = (end: number) => {
    if (depth === 2 && isInner && innerKey === inner) found = json.slice(start, end).trim()
  }
  for (let at = 0; at < json.length; at++) {
    const character = json.charCodeAt(at)
    if (character === QUOTE) at = endOfString(json, at)
    else if (character === COLON) {
      if (depth === 1) {
        outerKey = JSON.parse(json.slice(start, at)) as string
        // The last of its name is the one that counts, whatever those before it held.
        if (outerKey === outer) found = undefined
      } else if (depth === 2) innerKey = JSON.parse(json.slice(start, at)) as string
      if (depth <= 2) start = at + 1
    } else if (character === COMMA) {
      endValue(at)
      if (depth <= 2) start = at + 1
    } else if (OPENING.has(character)) {
      depth++
      if (depth === 2) {
        isInner = outerKey === outer && character === OPENING_BRACE
        innerKey = undefined
      }
      if (depth <= 2) start = at + 1
    } else if (CLOSING.has(character)) {
      endValue(at)
      if (depth === 2) isInner = false
      depth--
    }
  }
  return found
}

/** Where the string ends that begins here: at its last quote. */
function endOfString(json: string, start: number): number {
  let at = start + 1
  while (json.charCodeAt(at) !== QUOTE) at += json.charCodeAt(at) === BACKSLASH ? 2 : 1
  return at
}
