import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { jsonText } from '../../protocol/json-writer.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import type { Hooks } from '../hooks.js'
import { toJsonText } from '../json.js'

/** Calls the embedding application. */
export function handleRpc(
  session: ClientSession,
  { method, data }: ClientRequest<'rpc'>,
  reply: Reply,
): Promise<void> {
  const { hooks } = session.shared
  if (hooks.rpc === undefined) throw errors.notAvailable('there is nothing to call')
  return answer(session, hooks, method, data, reply)
}

async function answer(
  { client, user }: ClientSession,
  hooks: Hooks,
  method: string,
  data: unknown,
  reply: Reply,
): Promise<void> {
  reply({ data: jsonText(toJsonText(await hooks.rpc?.({ client, user, method, data }))) })
}
