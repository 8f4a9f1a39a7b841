import { JsonText } from './json-text.js'

export type JsonValue =
  | string
  | number
  | boolean
  | undefined
  | JsonText
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/** Whether the Centrifuge protocol leaves the value out of an object. */
function isZero(value: JsonValue): boolean {
  return value === undefined || value === '' || value === 0 || value === false
}

/** Writes one line of JSON without the fields that are zero values. JSON texts are spliced in, not parsed. */
export function writeJson(value: JsonValue): string {
  if (value instanceof JsonText) return value.text
  if (Array.isArray(value)) return `[${value.map((item: JsonValue) => writeJson(item)).join(',')}]`
  if (typeof value !== 'object') return JSON.stringify(value ?? null)
  let text = '{'
  const object = value as { readonly [key: string]: JsonValue }
  // `Object.entries` would allocate an array for each field, most of which are zero and skipped.
  for (const key of Object.keys(object)) {
    const field = object[key]
    if (isZero(field)) continue
    text += `${text === '{' ? '' : ','}${JSON.stringify(key)}:${writeJson(field)}`
  }
  return `${text}}`
}
