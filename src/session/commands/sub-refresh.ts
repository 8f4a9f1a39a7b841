import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import { secondsUntil } from '../pending-subscription.js'
import { verifySubscriptionToken } from '../subscription-token.js'
import type { Reply } from './run-command.js'

/** Takes a new token for a subscription. */
export function handleSubRefresh(
  session: ClientSession,
  { channel, token }: ClientRequest<'sub_refresh'>,
  reply: Reply,
): undefined {
  const subscription = session.find(channel)
  if (subscription === undefined) throw errors.permissionDenied('there is no such subscription')
  const { expiresAtMs } = verifySubscriptionToken(session, token, channel)
  subscription.expiresAtMs = expiresAtMs
  session.lookAgain()
  const ttl = expiresAtMs === undefined ? undefined : secondsUntil(expiresAtMs)
  reply({ expires: ttl !== undefined, ttl })
}
