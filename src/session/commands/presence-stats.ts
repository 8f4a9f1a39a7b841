import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientConnection } from '../client-connection.js'
import type { Reply } from './command-handler.js'
import { checkMayReadPresence } from './presence.js'

/** Counts the clients and users in a channel. */
export async function handlePresenceStats(
  connection: ClientConnection,
  { channel }: ClientRequest<'presence_stats'>,
  reply: Reply,
): Promise<void> {
  checkMayReadPresence(connection, channel)
  const { presenceAnnouncer, channels } = connection.context
  await presenceAnnouncer.pendingWrites(channel, connection.client)
  const { clients, users } = await channels.presenceStats(channel)
  reply({ num_clients: clients, num_users: users })
}
