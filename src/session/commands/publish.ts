import { mayPublish } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import { isPromise, type PublishDecision } from '../hooks.js'
import { toJsonText } from '../json.js'
import type { Reply } from './run-command.js'

/** Publishes to a channel. The reply comes once the relay has taken it. */
export function handlePublish(
  session: ClientSession,
  { channel, data }: ClientRequest<'publish'>,
  reply: Reply,
): Promise<void> {
  const { channels, hooks } = session.shared
  const namespace = channels.namespaceOf(channel)
  if (!mayPublish(namespace, { channel, user: session.user, isSubscribed: session.isIn(channel) })) {
    throw errors.permissionDenied('publishing to this channel')
  }
  const decided = hooks.publish?.({ client: session.client, user: session.user, channel, data })
  // Without an application to ask, publications of one tick go out together.
  const dataOf = (decision: PublishDecision | undefined) => (decision === undefined ? data : decision.data)
  if (!isPromise(decided)) return publish(session, channel, dataOf(decided), reply)
  return Promise.resolve(decided).then((decision) => publish(session, channel, dataOf(decision), reply))
}

async function publish(session: ClientSession, channel: string, data: unknown, reply: Reply): Promise<void> {
  const draft = {
    data: Buffer.from(toJsonText(data) ?? 'null'),
    isBinary: false,
    isJson: true,
    info: session.infoIn(session.find(channel)),
  }
  await session.shared.channels.publish('centrifuge', channel, draft)
  reply({})
}
