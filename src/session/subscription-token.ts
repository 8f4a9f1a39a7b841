import type { SubscriptionTokenGrant } from '../auth/authenticator.js'
import { errors } from '../protocol/errors.js'
import type { ClientSession } from './client-session.js'

/** What a subscription's token grants this user in this channel. Throws error 109 when it has expired, 103 when it is not valid. */
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
  throw errors.permissionDenied('the token of the subscription is not valid')
}
