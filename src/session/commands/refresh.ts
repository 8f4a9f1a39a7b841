import type { ClientRequest } from '../../protocol/client-requests.js'
import { Closing, DISCONNECTS } from '../../protocol/closes.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { checkDecision, expiryOf, isPromise, type RefreshDecision } from '../hooks.js'
import { secondsUntil } from '../pending-subscription.js'
import { retryableRefusal } from '../token-refusal.js'

/** Lets the connection live on, by a new token of the same user or as the application says. */
export function handleRefresh(
  session: ClientSession,
  { token }: ClientRequest<'refresh'>,
  reply: Reply,
): Promise<void> | undefined {
  const { client, user } = session
  const decided = session.shared.hooks.refresh?.({ client, user, channel: undefined, token })
  if (!isPromise(decided)) return refresh(session, token, decided, reply)
  return Promise.resolve(decided).then((decision) => refresh(session, token, decision, reply))
}

function refresh(
  session: ClientSession,
  token: string,
  decision: RefreshDecision | undefined,
  reply: Reply,
): undefined {
  checkDecision('refresh', decision)
  const expiresAtMs = decision === undefined ? readToken(session, token) : expiryOf(decision)
  session.expireAt(expiresAtMs)
  const { client } = session
  const ttl = expiresAtMs === undefined ? undefined : secondsUntil(expiresAtMs)
  reply({ client, version: session.shared.node.version, expires: ttl !== undefined, ttl })
}

/** When the connection expires by its new token. Throws errors 100 and 109, or a Closing. */
function readToken(session: ClientSession, token: string): number | undefined {
  const { authenticator, metrics } = session.shared
  const { identity, failure } = authenticator.authenticate(token === '' ? undefined : token)
  if (identity === undefined) {
    metrics.authFailures.inc({ reason: failure })
    throw retryableRefusal(failure) ?? new Closing(DISCONNECTS.invalidToken)
  }
  if (identity.user !== session.user) throw new Closing(DISCONNECTS.invalidToken)
  session.connInfo = identity.info
  return identity.expiresAtMs
}
