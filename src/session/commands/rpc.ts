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
  const { hooks } = connection.context
  if (hooks.rpc === undefined) throw errors.notAvailable('there is nothing to call')
  return call(connection, hooks, request, reply)
}

async function call(
  { client, user }: ClientConnection,
  hooks: Hooks,
  { method, data }: ClientRequest<'rpc'>,
  reply: Reply,
): Promise<void> {
  // Called as a method, since hooks may be an object that uses `this`.
  reply({ data: jsonText(stringify(await hooks.rpc?.({ client, user, method, data }))) })
}
