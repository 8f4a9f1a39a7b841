import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { jsonText, stringify } from '../../protocol/json-text.js'
import type { ClientConnection } from '../client-connection.js'
import type { Hooks } from '../hooks.js'
import type { Reply } from './command-handler.js'

/** Calls the embedding application. */
export function handleRpc(
  connection: ClientConnection,
  request: ClientRequest<'rpc'>,
  reply: Reply,
): Promise<void> {
  const { rpc } = connection.context.hooks
  if (rpc === undefined) throw errors.notAvailable('there is nothing to call')
  return call(connection, rpc, request, reply)
}

async function call(
  { client, user }: ClientConnection,
  rpc: NonNullable<Hooks['rpc']>,
  { method, data }: ClientRequest<'rpc'>,
  reply: Reply,
): Promise<void> {
  reply({ data: jsonText(stringify(await rpc({ client, user, method, data }))) })
}
