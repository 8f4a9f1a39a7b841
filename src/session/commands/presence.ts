import { mayReadPresence } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { presenceJson } from '../../protocol/pushes.js'
import type { ClientConnection } from '../client-connection.js'
import type { Reply } from './command-handler.js'

/** Lists the clients in a channel. */
export async function handlePresence(
  connection: ClientConnection,
  { channel }: ClientRequest<'presence'>,
  reply: Reply,
): Promise<void> {
  checkMayReadPresence(connection, channel)
  const { presenceAnnouncer, channels } = connection.context
  await presenceAnnouncer.pendingWrites(channel, connection.client)
  reply({ presence: presenceJson(await channels.presence(channel)) })
}

/** Throws error 102 or 103. */
export function checkMayReadPresence(connection: ClientConnection, channel: string): void {
  const namespace = connection.context.channels.namespaceOf(channel)
  const isSubscribed = connection.isSubscribed(channel)
  if (!mayReadPresence(namespace, { channel, user: connection.user, isSubscribed })) {
    throw errors.permissionDenied('reading who is in this channel')
  }
}
