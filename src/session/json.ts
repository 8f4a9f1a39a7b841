import { errors } from '../protocol/errors.js'
import { stringifyExactly } from '../protocol/exact-json.js'

/**
 * A JSON value as one line of text; undefined stays undefined. Throws error 107 for one that is nested too deeply, and a
 * TypeError for what an application took for JSON and is none, such as a BigInt.
 */
export function toJsonText(value: unknown): string | undefined {
  try {
    return value === undefined ? undefined : stringifyExactly(value)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw errors.badRequest('the data is nested too deeply')
  }
}
