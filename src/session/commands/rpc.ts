import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { jsonText } from '../../protocol/json-writer.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { toJsonText } from '../json.js'

/** Calls the embedding application. */
export function handleRpc(
  session: ClientSession,
  { method, data }: ClientRequest<'rpc'>,
  reply: Reply,
): Promise<void> {
  const { rpc } = session.shared.hooks
  if (rpc === undefined) throw errors.notAvailable('there is nothing to call')
  return answer(session, rpc, method, data, reply)
}

async function answer(
  { client, user }: ClientSession,
  rpc: NonNullable<ClientSession['shared']['hooks']['rpc']>,
  method: string,
  data: unknown,
  reply: Reply,
): Promise<void> {
  reply({ data: jsonText(toJsonText(await rpc({ client, user, method, data }))) })
}
