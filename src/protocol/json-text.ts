import { randomUUID } from 'node:crypto'
import { errors } from './errors.js'

/**
 * Prefix of the strings that stand for a `JsonText` while `JSON.parse` and `JSON.stringify` handle them. Random, so
 * that no client can send it.
 */
const MARKER = randomUUID()
const WRITTEN_MARKER = new RegExp(`"${MARKER}([\\w-]*)"`, 'g')

/** Decimal digits that every double keeps. IEEE 754 binary64. */
const EXACT_DIGITS = 15
/** Smaller numbers lose digits, and in the end become 0. */
const LEAST_EXACT_NUMBER = 1e-307
/** Finds numbers that may not be exact as a double: a quick test, which may match inside of strings too. */
const LONG_NUMBER = /[\d.]{16}|[eE][+-]?\d{3}/
/** Strings and numbers in JSON. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g

/** The text of a JSON value: one line, which is spliced into other JSON unchanged. */
export class JsonText {
  constructor(readonly text: string) {}

  /** `stringifyExactly` replaces the marker by the text. */
  toJSON(): string {
    return MARKER + Buffer.from(this.text).toString('base64url')
  }
}

/** Wraps a JSON text; undefined stays undefined. */
export function jsonText(text: string | undefined): JsonText | undefined {
  return text === undefined ? undefined : new JsonText(text)
}

/** Like `JSON.parse`, but a number that would lose digits becomes a `JsonText`. Throws what `JSON.parse` throws. */
export function parseExactly(text: string): unknown {
  const value: unknown = JSON.parse(text)
  if (!LONG_NUMBER.test(text)) return value
  // The text is valid JSON, where a digit outside of strings is part of a number.
  const marked = text.replace(TOKENS, (token) => (isExact(token) ? token : `"${MARKER}${token}"`))
  if (marked.length === text.length) return value
  return JSON.parse(marked, (_key, part: unknown) =>
    typeof part === 'string' && part.startsWith(MARKER) ? new JsonText(part.slice(MARKER.length)) : part,
  )
}

/**
 * Like `JSON.stringify`: one line, or undefined for a value without JSON, such as undefined itself. Throws error 107
 * for data that is nested too deeply to be written, and a TypeError for a value that is not JSON, such as a BigInt.
 */
export function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw errors.badRequest('the data is nested too deeply', { cause: error })
  }
}

/** Like `stringify`, with the text of every `JsonText` unchanged. Throws a TypeError also for a value without JSON. */
export function stringifyExactly(value: unknown): string {
  const json = stringify(value)
  if (json === undefined) throw new TypeError('the value has no JSON')
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
