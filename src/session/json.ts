import { errors } from '../protocol/errors.js'

/** A JSON value as one line of text; undefined stays undefined. Throws error 107 for one that is nested too deeply. */
export function toJsonText(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    throw errors.badRequest('the data is nested too deeply')
  }
}
