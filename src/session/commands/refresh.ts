import type { ClientRequest } from '../../protocol/client-requests.js'
import { DISCONNECTS, Disconnect } from '../../protocol/closes.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import { secondsUntil } from '../pending-subscription.js'
import type { Reply } from './run-command.js'

/** Takes a new token for the connection, which must be the same user's. */
export function handleRefresh(
  session: ClientSession,
  { token }: ClientRequest<'refresh'>,
  reply: Reply,
): undefined {
  const { authenticator, metrics, node } = session.shared
  const { identity, failure } = authenticator.authenticate(token === '' ? undefined : token)
  if (identity === undefined) {
    metrics.authFailures.inc({ reason: failure })
    if (failure === 'expired') throw errors.tokenExpired('fetch a new one')
    throw new Closing(DISCONNECTS.invalidToken)
  }
  if (identity.user !== session.user) throw new Closing(DISCONNECTS.invalidToken)
  const { expiresAtMs } = identity
  session.connInfo = identity.info
  session.refresh(expiresAtMs)
  const { client } = session
  const ttl = expiresAtMs === undefined ? undefined : secondsUntil(expiresAtMs)
  reply({ client, version: node.version, expires: ttl !== undefined, ttl })
}
