import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientConnection } from '../client-connection.js'
import { expiryFields } from '../expiry.js'
import { checkDecision, futureExpiryOf, isPromise, type RefreshDecision } from '../hooks.js'
import { verifySubscriptionToken } from '../token-checks.js'
import type { Reply } from './command-handler.js'

type Request = ClientRequest<'sub_refresh'>

/** Extends the life of a subscription, by a new token or by an application's decision. */
export function handleSubRefresh(
  connection: ClientConnection,
  request: Request,
  reply: Reply,
): Promise<void> | undefined {
  const { client, user, context } = connection
  const decided = context.hooks.refresh?.({ client, user, ...request })
  if (!isPromise(decided)) return refresh(connection, request, decided, reply)
  return Promise.resolve(decided).then((decision) => refresh(connection, request, decision, reply))
}

function refresh(
  connection: ClientConnection,
  { channel, token }: Request,
  decision: RefreshDecision | undefined,
  reply: Reply,
): undefined {
  checkDecision('refresh', decision)
  const subscription = connection.findSubscription(channel)
  if (subscription === undefined) throw errors.permissionDenied('there is no such subscription')
  const expiresAtMs =
    decision === undefined
      ? verifySubscriptionToken(connection, token, channel).expiresAtMs
      : futureExpiryOf(decision)
  subscription.expiresAtMs = expiresAtMs
  connection.rescheduleTimer()
  reply(expiryFields(expiresAtMs))
}
