import type { ClientRequest, CommandName } from '../../protocol/client-requests.js'
import type { JsonValue } from '../../protocol/json-writer.js'
import type { ClientConnection } from '../client-connection.js'

/** Replies to a command, once; not at all where the handler throws. */
export type Reply = (result: JsonValue) => void

/**
 * Handles a command. Returns undefined when it is done at once. Throws or rejects with a ProtocolError, a BrokerError or
 * a CloseConnection.
 */
export type CommandHandler<N extends CommandName> = (
  connection: ClientConnection,
  request: ClientRequest<N>,
  reply: Reply,
) => Promise<void> | undefined
