import type { SubscriptionTokenGrant } from '../auth/authenticator.js'
import { errors } from '../protocol/errors.js'
import type { ClientSession } from './client-session.js'

/**
 * What a subscription's token grants this user in this channel. Throws error 109 when it has expired, 103 when it is not
 * valid, 100 when its key is not known yet.
 */
export function verifySubscriptionToken(
  session: ClientSession,
  token: string,
  channel: string,
): SubscriptionTokenGrant {
  const { authenticator, metrics } = session.shared
  const { grant, failure } = authenticator.authenticateSubscription(token, session.user, channel)
  if (grant !== undefined) return grant
  metrics.authFailures.inc({ reason: failure })
  if (failure === 'expired') throw errors.tokenExpired('fetch a new one')
  if (failure === 'key_unknown') throw errors.internal('the key of the token is not known yet')
  throw errors.permissionDenied('the token of the subscription is not valid')
}
