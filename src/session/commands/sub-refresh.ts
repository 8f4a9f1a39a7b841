import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { checkDecision, isPromise, type RefreshDecision } from '../hooks.js'
import { decidedExpiryOf, secondsUntil } from '../pending-subscription.js'
import { verifySubscriptionToken } from '../subscription-token.js'

type Request = ClientRequest<'sub_refresh'>

/** Lets a subscription live on, by a new token or as the application says. */
export function handleSubRefresh(
  session: ClientSession,
  request: Request,
  reply: Reply,
): Promise<void> | undefined {
  const { client, user } = session
  const decided = session.shared.hooks.refresh?.({ client, user, ...request })
  if (!isPromise(decided)) return refresh(session, request, decided, reply)
  return Promise.resolve(decided).then((decision) => refresh(session, request, decision, reply))
}

function refresh(
  session: ClientSession,
  { channel, token }: Request,
  decision: RefreshDecision | undefined,
  reply: Reply,
): undefined {
  checkDecision('refresh', decision)
  const subscription = session.find(channel)
  if (subscription === undefined) throw errors.permissionDenied('there is no such subscription')
  const expiresAtMs =
    decision === undefined
      ? verifySubscriptionToken(session, token, channel).expiresAtMs
      : decidedExpiryOf(decision)
  subscription.expiresAtMs = expiresAtMs
  session.lookAgain()
  const ttl = expiresAtMs === undefined ? undefined : secondsUntil(expiresAtMs)
  reply({ expires: ttl !== undefined, ttl })
}
