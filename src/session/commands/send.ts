import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientSession } from '../client-session.js'
import { isPromise } from '../hooks.js'

/** Hands the embedding application a message that nobody waits for an answer to. */
export function handleSend(
  session: ClientSession,
  { data }: ClientRequest<'send'>,
): Promise<void> | undefined {
  const { client, user } = session
  const failed = (error: unknown) => session.hookFailed('message', error)
  try {
    const taken = session.shared.hooks.message?.({ client, user, data })
    // The next command waits for it: an application is not handed more than it takes.
    return isPromise(taken) ? Promise.resolve(taken).catch(failed) : undefined
  } catch (error) {
    failed(error)
    return undefined
  }
}
