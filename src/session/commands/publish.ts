import { mayPublish } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { stringify } from '../../protocol/json-text.js'
import type { ClientConnection } from '../client-connection.js'
import { checkDecision, isPromise, type PublishDecision } from '../hooks.js'
import type { Reply } from './command-handler.js'

/** Publishes to a channel. Replies once the relay has taken the publication. */
export function handlePublish(
  connection: ClientConnection,
  { channel, data }: ClientRequest<'publish'>,
  reply: Reply,
): Promise<void> {
  const { client, user, context } = connection
  const { channels, hooks } = context
  const isSubscribed = connection.isSubscribed(channel)
  if (!mayPublish(channels.namespaceOf(channel), { channel, user, isSubscribed })) {
    throw errors.permissionDenied('publishing to this channel')
  }
  const decided = hooks.publish?.({ client, user, channel, data: JSON.parse(data.text) })
  // Without a promise to await, publications of one tick leave together.
  if (!isPromise(decided)) return publish(connection, channel, dataOf(decided) ?? data.text, reply)
  return Promise.resolve(decided).then((decision) =>
    publish(connection, channel, dataOf(decision) ?? data.text, reply),
  )
}

/** The JSON that an application publishes instead; undefined: what the client sent. */
function dataOf(decision: PublishDecision | undefined): string | undefined {
  checkDecision('publish', decision)
  if (decision === undefined) return undefined
  const text = stringify(decision.data)
  if (text === undefined) throw new TypeError('hooks.publish: the data is not JSON')
  return text
}

async function publish(
  connection: ClientConnection,
  channel: string,
  data: string,
  reply: Reply,
): Promise<void> {
  await connection.context.channels.publish({
    channel,
    source: 'centrifuge',
    data: Buffer.from(data),
    isBinary: false,
    isJson: true,
    info: connection.infoIn(connection.findSubscription(channel)),
  })
  reply({})
}
