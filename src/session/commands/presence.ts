import { mayReadPresence } from '../../channel/permissions.js'
import { infoJson } from '../../hub/pushes.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { JsonValue } from '../../protocol/json-writer.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from './run-command.js'

/** Who is in a channel. */
export async function handlePresence(
  session: ClientSession,
  { channel }: ClientRequest<'presence'>,
  reply: Reply,
): Promise<void> {
  checkMayReadPresence(session, channel)
  const presence: Record<string, JsonValue> = {}
  for (const [client, info] of await session.shared.channels.presence(channel)) {
    presence[client] = infoJson(info)
  }
  reply({ presence })
}

/** Throws error 102 or 103. */
export function checkMayReadPresence(session: ClientSession, channel: string): void {
  const namespace = session.shared.channels.namespaceOf(channel)
  if (!mayReadPresence(namespace, { user: session.user, isSubscribed: session.isIn(channel) })) {
    throw errors.permissionDenied('reading who is in this channel')
  }
}
