import type { AuthFailure, Identity, SubscriptionTokenGrant } from '../auth/authenticator.js'
import { type Close, CloseConnection, DISCONNECTS } from '../protocol/closes.js'
import { errors, type ProtocolError } from '../protocol/errors.js'
import type { ClientConnection } from './client-connection.js'

/**
 * Verifies a connection's token. Throws error 109 when it has expired, 100 when its key is not known yet, and a
 * CloseConnection when it is not valid.
 * @param missing the close for a client without a token that must have one
 */
export function verifyConnectionToken(
  { context: { authenticator, metrics } }: ClientConnection,
  token: string,
  missing: Close,
): Identity {
  const { identity, failure } = authenticator.authenticate(token === '' ? undefined : token)
  if (identity !== undefined) return identity
  metrics.authFailures.inc({ reason: failure })
  if (failure === 'missing') throw new CloseConnection(missing)
  throw retryableRefusal(failure) ?? new CloseConnection(DISCONNECTS.invalidToken)
}

/**
 * Verifies a subscription's token for this user and channel. Throws error 109 when it has expired, 100 when its key is
 * not known yet, and 103 when it is not valid.
 */
export function verifySubscriptionToken(
  { context: { authenticator, metrics }, user }: ClientConnection,
  token: string,
  channel: string,
): SubscriptionTokenGrant {
  const { grant, failure } = authenticator.authenticateSubscription(token, user, channel)
  if (grant !== undefined) return grant
  metrics.authFailures.inc({ reason: failure })
  throw retryableRefusal(failure) ?? errors.permissionDenied('the token of the subscription is not valid')
}

/** The error for a token that may be accepted later, or that the client can replace; undefined for one that is wrong. */
function retryableRefusal(failure: AuthFailure): ProtocolError | undefined {
  if (failure === 'expired') return errors.tokenExpired('fetch a new one')
  if (failure === 'key_unknown') return errors.internal('the key of the token is not known yet')
  return undefined
}
