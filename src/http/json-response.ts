import { stringifyExactly } from '../protocol/json-text.js'
import type { HttpResponse } from '../transport/transport.js'

/** A response whose body is one line of JSON. Throws what `stringifyExactly` throws. */
export function jsonResponse(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse {
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: `${stringifyExactly(body)}\n`,
  }
}
