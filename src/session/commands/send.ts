import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientConnection } from '../client-connection.js'
import { isPromise } from '../hooks.js'

/** Passes a message to the embedding application, without a reply. */
export function handleSend(
  connection: ClientConnection,
  { data }: ClientRequest<'send'>,
): Promise<void> | undefined {
  const { client, user, context } = connection
  const logError = (error: unknown) => connection.logHookError('message', error)
  try {
    const handled = context.hooks.message?.({ client, user, data })
    // The next command waits for it, so that an application receives no more than it handles.
    return isPromise(handled) ? Promise.resolve(handled).catch(logError) : undefined
  } catch (error) {
    logError(error)
    return undefined
  }
}
