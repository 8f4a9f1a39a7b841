import { mayPublish } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { checkDecision, isPromise, type PublishDecision } from '../hooks.js'
import { toJsonText } from '../json.js'

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
  const { client, user } = session
  const decided = hooks.publish?.({ client, user, channel, data: JSON.parse(data.text) })
  // Without an application to ask, publications of one tick go out together.
  if (!isPromise(decided)) return publish(session, channel, textOf(decided) ?? data.text, reply)
  return Promise.resolve(decided).then((decision) =>
    publish(session, channel, textOf(decision) ?? data.text, reply),
  )
}

/** What an application publishes instead; undefined: nothing else. */
function textOf(decision: PublishDecision | undefined): string | undefined {
  checkDecision('publish', decision)
  if (decision === undefined) return undefined
  const text = toJsonText(decision.data)
  if (text === undefined) throw new TypeError('hooks.publish: the data is not JSON')
  return text
}

async function publish(session: ClientSession, channel: string, data: string, reply: Reply): Promise<void> {
  const draft = {
    data: Buffer.from(data),
    isBinary: false,
    isJson: true,
    info: session.infoIn(session.find(channel)),
  }
  await session.shared.channels.publish('centrifuge', channel, draft)
  reply({})
}
