import type { SubscriptionTokenGrant } from '../auth/authenticator.js'
import { errors } from '../protocol/errors.js'
import type { ClientSession } from './client-session.js'
import { retryableRefusal } from './token-refusal.js'

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
  throw retryableRefusal(failure) ?? errors.permissionDenied('the token of the subscription is not valid')
}
