import type { NamespaceOptions } from '../../channel/namespaces.js'
import { subscribeRule } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import { stringify } from '../../protocol/json-text.js'
import type { ClientConnection } from '../client-connection.js'
import { checkDecision, futureExpiryOf, isPromise, type SubscribeDecision } from '../hooks.js'
import { type SubscriptionOptions, subscribe, subscribeResult } from '../pending-subscription.js'
import { verifySubscriptionToken } from '../token-checks.js'
import type { Reply } from './command-handler.js'

type Request = ClientRequest<'subscribe'>
type Grant = Pick<SubscriptionOptions, 'chanInfo' | 'data' | 'expiresAtMs'>

/** Subscribes to a channel, and recovers what was missed since the position that the client names. */
export function handleSubscribe(
  connection: ClientConnection,
  request: Request,
  reply: Reply,
): Promise<void> | undefined {
  const { client, user, context } = connection
  const { channel, token, data } = request
  const namespace = context.channels.namespaceOf(channel)
  const decided = context.hooks.subscribe?.({ client, user, channel, token, data })
  const complete = (decision: SubscribeDecision | undefined) => {
    checkDecision('subscribe', decision)
    const grant =
      decision === undefined ? grantOfToken(connection, namespace, request) : grantOfDecision(decision)
    const options = { ...optionsOf(request), namespace, ...grant }
    return subscribe(connection, options, (outcome) => reply(subscribeResult(outcome)))
  }
  if (!isPromise(decided)) return complete(decided)
  return connection.awaitDecision(channel, decided, complete)
}

function optionsOf(request: Request): Omit<SubscriptionOptions, 'namespace' | keyof Grant> {
  return {
    channel: request.channel,
    isServerSide: false,
    wantsJoinLeave: request.join_leave,
    wantsPosition: request.positioned,
    wantsRecovery: request.recoverable,
    since: request.recover ? { epoch: request.epoch, offset: request.offset } : undefined,
  }
}

/** By the options of the namespace and the token. Throws error 103 or 109. */
function grantOfToken(
  connection: ClientConnection,
  namespace: NamespaceOptions,
  { channel, token }: Request,
): Grant {
  const rule = subscribeRule(namespace, channel, connection.user)
  if (rule === 'denied') throw errors.permissionDenied('this user may not subscribe to this channel')
  if (token !== '') {
    const { info, expiresAtMs } = verifySubscriptionToken(connection, token, channel)
    return { chanInfo: info, data: undefined, expiresAtMs }
  }
  if (rule === 'token') throw errors.permissionDenied('this channel needs a token of its own')
  return { chanInfo: undefined, data: undefined, expiresAtMs: undefined }
}

/** Throws error 110. */
function grantOfDecision(decision: SubscribeDecision): Grant {
  const { info, data } = decision
  return { chanInfo: stringify(info), data: stringify(data), expiresAtMs: futureExpiryOf(decision) }
}
