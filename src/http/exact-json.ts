import { randomUUID } from 'node:crypto'

/** Begins the strings that stand for a `ExactJson` while the platform's parser and writer handle them; nobody else knows it. */
const MARKER = randomUUID()
const WRITTEN_MARKER = new RegExp(`"${MARKER}([\\w-]*)"`, 'g')

/** The digits of a double that are always kept. IEEE 754 binary64. */
const EXACT_DIGITS = 15
/** Smaller numbers lose digits before they become 0. */
const LEAST_EXACT_NUMBER = 1e-307
/** Whether a text may have a number that is not exact as a double: a quick look, which strings may deceive. */
const LONG_NUMBER = /[\d.]{16}|[eE][+-]?\d{3}/
/** Strings and numbers in JSON. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g

/** A JSON value by its text, which is one line. */
export class ExactJson {
  constructor(readonly text: string) {}

  /** Only `stringifyExactly` knows what to make of it. */
  toJSON(): string {
    return MARKER + Buffer.from(this.text).toString('base64url')
  }
}

/** Like `JSON.parse`, but a number that would lose digits becomes a `ExactJson`. Throws what `JSON.parse` throws. */
export function parseExactly(text: string): unknown {
  const value: unknown = JSON.parse(text)
  if (!LONG_NUMBER.test(text)) return value
  // The text is known to be JSON now, where a digit outside of strings is part of a number.
  const marked = text.replace(TOKENS, (token) => (isExact(token) ? token : `"${MARKER}${token}"`))
  if (marked.length === text.length) return value
  return JSON.parse(marked, (_key, part: unknown) =>
    typeof part === 'string' && part.startsWith(MARKER) ? new ExactJson(part.slice(MARKER.length)) : part,
  )
}

/** Like `JSON.stringify`, with every `ExactJson` as it is. One line. */
export function stringifyExactly(value: unknown): string {
  const json = JSON.stringify(value)
  if (!json.includes(MARKER)) return json
  return json.replace(WRITTEN_MARKER, (_marked, encoded: string) =>
    Buffer.from(encoded, 'base64url').toString(),
  )
}

function isExact(token: string): boolean {
  if (token.startsWith('"')) return true
  const value = Number(token)
  if (String(value) === token) return true
  const [mantissa = ''] = token.split(/[eE]/)
  if (value === 0) return !/[1-9]/.test(mantissa)
  const digits = mantissa.replace(/\D/g, '').length
  return digits <= EXACT_DIGITS && Number.isFinite(value) && Math.abs(value) >= LEAST_EXACT_NUMBER
}
