import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientConnection } from '../client-connection.js'
import type { Reply } from './command-handler.js'

/** Ends a subscription; none of the channel's publications comes after the reply. Without one it has no effect. */
export function handleUnsubscribe(
  connection: ClientConnection,
  { channel }: ClientRequest<'unsubscribe'>,
  reply: Reply,
): undefined {
  const subscription = connection.findSubscription(channel)
  if (subscription !== undefined) connection.removeSubscription(subscription)
  reply({})
}
