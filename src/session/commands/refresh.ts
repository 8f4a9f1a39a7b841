import type { ClientRequest } from '../../protocol/client-requests.js'
import { CloseConnection, DISCONNECTS } from '../../protocol/closes.js'
import type { ClientConnection } from '../client-connection.js'
import { expiryFields } from '../expiry.js'
import { checkDecision, expiryOf, isPromise, type RefreshDecision } from '../hooks.js'
import { verifyConnectionToken } from '../token-checks.js'
import type { Reply } from './command-handler.js'

/** Extends the life of the connection, by a new token of the same user or by an application's decision. */
export function handleRefresh(
  connection: ClientConnection,
  { token }: ClientRequest<'refresh'>,
  reply: Reply,
): Promise<void> | undefined {
  const { client, user, context } = connection
  const decided = context.hooks.refresh?.({ client, user, channel: undefined, token })
  if (!isPromise(decided)) return refresh(connection, token, decided, reply)
  return Promise.resolve(decided).then((decision) => refresh(connection, token, decision, reply))
}

function refresh(
  connection: ClientConnection,
  token: string,
  decision: RefreshDecision | undefined,
  reply: Reply,
): undefined {
  checkDecision('refresh', decision)
  const expiresAtMs = decision === undefined ? expiryOfToken(connection, token) : expiryOf(decision)
  connection.expireAt(expiresAtMs)
  const { client, context } = connection
  reply({ client, version: context.node.version, ...expiryFields(expiresAtMs) })
}

/** Throws errors 100 and 109, or a CloseConnection. */
function expiryOfToken(connection: ClientConnection, token: string): number | undefined {
  const identity = verifyConnectionToken(connection, token, DISCONNECTS.invalidToken)
  if (identity.user !== connection.user) throw new CloseConnection(DISCONNECTS.invalidToken)
  connection.identify(identity.user, identity.info)
  return identity.expiresAtMs
}
