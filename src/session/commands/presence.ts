import { mayReadPresence } from '../../channel/permissions.js'
import { infoJson } from '../../hub/pushes.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'

/** Who is in a channel. */
export async function handlePresence(
  session: ClientSession,
  { channel }: ClientRequest<'presence'>,
  reply: Reply,
): Promise<void> {
  checkMayReadPresence(session, channel)
  await session.shared.presence.turnOf(channel, session.client)
  const clients = await session.shared.channels.presence(channel)
  reply({ presence: Object.fromEntries([...clients].map(([client, info]) => [client, infoJson(info)])) })
}

/** Throws error 102 or 103. */
export function checkMayReadPresence(session: ClientSession, channel: string): void {
  const namespace = session.shared.channels.namespaceOf(channel)
  if (!mayReadPresence(namespace, { channel, user: session.user, isSubscribed: session.isIn(channel) })) {
    throw errors.permissionDenied('reading who is in this channel')
  }
}
