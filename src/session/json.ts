import { errors } from '../protocol/errors.js'

/**
 * A JSON value as one line of text; undefined stays undefined. Throws error 107 for one that is nested too deeply, and a
 * TypeError for what an application took for JSON and is none, such as a BigInt.
 */
export function toJsonText(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw errors.badRequest('the data is nested too deeply')
  }
}
