import { mayReadHistory } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { publicationJson } from '../../protocol/pushes.js'
import type { ClientConnection } from '../client-connection.js'
import type { Reply } from './command-handler.js'

/** Reads the publications that a channel keeps, and its position. */
export async function handleHistory(
  connection: ClientConnection,
  { channel, limit, since, reverse }: ClientRequest<'history'>,
  reply: Reply,
): Promise<void> {
  const { channels, maxAnswerBytes: maxBytes } = connection.context
  const namespace = channels.namespaceOf(channel)
  const isSubscribed = connection.isSubscribed(channel)
  if (!mayReadHistory(namespace, { channel, user: connection.user, isSubscribed })) {
    throw errors.permissionDenied('reading the history of this channel')
  }
  const query = { limit, since, isReverse: reverse, maxBytes }
  const { publications, position } = await channels.history(channel, query)
  reply({ publications: publications.map(publicationJson), epoch: position.epoch, offset: position.offset })
}
