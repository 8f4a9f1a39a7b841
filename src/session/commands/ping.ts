import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientConnection } from '../client-connection.js'
import type { Reply } from './command-handler.js'

/** Answers a client that checks the connection. */
export function handlePing(
  _connection: ClientConnection,
  _request: ClientRequest<'ping'>,
  reply: Reply,
): undefined {
  reply({})
}
