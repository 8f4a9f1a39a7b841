/** A text that is JSON already, to be put into other JSON as it is. */
export class JsonText {
  constructor(readonly text: string) {}
}

export type JsonValue =
  | string
  | number
  | boolean
  | undefined
  | JsonText
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/** What a field is worth writing for: zero values are left out, as the protocol wants. */
function isZero(value: JsonValue): boolean {
  return value === undefined || value === '' || value === 0 || value === false
}

/** One line of JSON, without members that are zero values. Texts are spliced in, not parsed. */
export function writeJson(value: JsonValue): string {
  if (value instanceof JsonText) return value.text
  if (Array.isArray(value)) return `[${value.map((item: JsonValue) => writeJson(item)).join(',')}]`
  if (typeof value !== 'object') return JSON.stringify(value ?? null)
  let text = '{'
  const members = value as { readonly [key: string]: JsonValue }
  // Most members of most results are zero, and an array for each, as `Object.entries` makes it, would cost the most.
  for (const key of Object.keys(members)) {
    const member = members[key]
    if (isZero(member)) continue
    text += `${text === '{' ? '' : ','}${JSON.stringify(key)}:${writeJson(member)}`
  }
  return `${text}}`
}

/** A JSON text to splice in, where there is one. */
export function jsonText(text: string | undefined): JsonText | undefined {
  return text === undefined ? undefined : new JsonText(text)
}
