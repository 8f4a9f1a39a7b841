import { mayReadHistory } from '../../channel/permissions.js'
import { publicationJson } from '../../hub/pushes.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from './run-command.js'

/** What was said in a channel, and its position. */
export async function handleHistory(
  session: ClientSession,
  { channel, limit, since, reverse }: ClientRequest<'history'>,
  reply: Reply,
): Promise<void> {
  const { channels, maxAnswerBytes: maxBytes } = session.shared
  const namespace = channels.namespaceOf(channel)
  if (!mayReadHistory(namespace, { channel, user: session.user, isSubscribed: session.isIn(channel) })) {
    throw errors.permissionDenied('reading the history of this channel')
  }
  const { publications, position } = await channels.history(channel, {
    limit,
    since,
    isReverse: reverse,
    maxBytes,
  })
  reply({ publications: publications.map(publicationJson), epoch: position.epoch, offset: position.offset })
}
