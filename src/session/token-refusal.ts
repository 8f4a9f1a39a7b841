import type { AuthFailure } from '../auth/authenticator.js'
import { errors, type ProtocolError } from '../protocol/errors.js'

/** What a client is told whose token may be taken later, or another one of its; undefined where the token is wrong. */
export function retryableRefusal(failure: AuthFailure): ProtocolError | undefined {
  if (failure === 'expired') return errors.tokenExpired('fetch a new one')
  if (failure === 'key_unknown') return errors.internal('the key of the token is not known yet')
  return undefined
}
