import type { ClientRequest } from '../../protocol/client-requests.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { checkMayReadPresence } from './presence.js'

/** How many clients and users are in a channel. */
export async function handlePresenceStats(
  session: ClientSession,
  { channel }: ClientRequest<'presence_stats'>,
  reply: Reply,
): Promise<void> {
  checkMayReadPresence(session, channel)
  await session.shared.presence.turnOf(channel, session.client)
  const { clients, users } = await session.shared.channels.presenceStats(channel)
  reply({ num_clients: clients, num_users: users })
}
