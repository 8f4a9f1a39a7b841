import type { NamespaceOptions } from '../../channel/namespaces.js'
import { subscribeRule } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { errors } from '../../protocol/errors.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { checkDecision, isPromise, type SubscribeDecision } from '../hooks.js'
import { toJsonText } from '../json.js'
import {
  decidedExpiryOf,
  type SubscriptionOptions,
  subscribe,
  subscribeResult,
} from '../pending-subscription.js'
import { verifySubscriptionToken } from '../subscription-token.js'

type Request = ClientRequest<'subscribe'>

/** Subscribes to a channel, and recovers what was missed since the position that the client names. */
export function handleSubscribe(
  session: ClientSession,
  request: Request,
  reply: Reply,
): Promise<void> | undefined {
  const { channels, hooks } = session.shared
  const { channel, token, data } = request
  const namespace = channels.namespaceOf(channel)
  const { client, user } = session
  const decided = hooks.subscribe?.({ client, user, channel, token, data })
  if (!isPromise(decided)) return begin(session, namespace, request, decided, reply)
  return session.whileDeciding(channel, decided, (decision) =>
    begin(session, namespace, request, decision, reply),
  )
}

function begin(
  session: ClientSession,
  namespace: NamespaceOptions,
  request: Request,
  decision: SubscribeDecision | undefined,
  reply: Reply,
): Promise<void> | undefined {
  checkDecision('subscribe', decision)
  const { channel } = request
  const grant = decision === undefined ? granted(session, namespace, request) : grantOf(decision)
  return subscribe(
    session,
    {
      channel,
      namespace,
      isServerSide: false,
      wantsJoinLeave: request.join_leave,
      wantsPosition: request.positioned,
      wantsRecovery: request.recoverable,
      since: request.recover ? { epoch: request.epoch, offset: request.offset } : undefined,
      ...grant,
    },
    (subscribed) => reply(subscribeResult(subscribed)),
  )
}

type Grant = Pick<SubscriptionOptions, 'chanInfo' | 'data' | 'expiresAtMs'>

/** By the namespace's rules and the token. Throws error 103 or 109. */
function granted(session: ClientSession, namespace: NamespaceOptions, { channel, token }: Request): Grant {
  const rule = subscribeRule(namespace, channel, session.user)
  if (rule === 'denied') throw errors.permissionDenied('this user may not subscribe to this channel')
  if (token !== '') {
    const { info, expiresAtMs } = verifySubscriptionToken(session, token, channel)
    return { chanInfo: info, data: undefined, expiresAtMs }
  }
  if (rule === 'token') throw errors.permissionDenied('this channel needs a token of its own')
  return { chanInfo: undefined, data: undefined, expiresAtMs: undefined }
}

/** Throws error 110. */
function grantOf(decision: SubscribeDecision): Grant {
  const { info, data } = decision
  return { chanInfo: toJsonText(info), data: toJsonText(data), expiresAtMs: decidedExpiryOf(decision) }
}
