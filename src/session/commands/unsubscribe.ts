import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'

/** Leaves a channel; nothing of it comes after the reply. Leaving one that it is not in does no harm. */
export function handleUnsubscribe(
  session: ClientSession,
  { channel }: ClientRequest<'unsubscribe'>,
  reply: Reply,
): undefined {
  const subscription = session.find(channel)
  if (subscription !== undefined) session.removeSubscription(subscription)
  reply({})
}
