import type { Identity } from '../../auth/authenticator.js'
import { subscribeRule } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { Closing, DISCONNECTS } from '../../protocol/closes.js'
import { errors } from '../../protocol/errors.js'
import { type JsonValue, jsonText } from '../../protocol/json-writer.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
import { type ConnectDecision, checkConnectDecision, checkDecision, expiryOf, isPromise } from '../hooks.js'
import { toJsonText } from '../json.js'
import {
  joinAll,
  PendingSubscription,
  secondsUntil,
  subscribeResult,
  type Told,
} from '../pending-subscription.js'
import { retryableRefusal } from '../token-refusal.js'

type Request = ClientRequest<'connect'>

/** What is known of somebody who may connect. */
interface Admitted {
  readonly user: string
  readonly info: string | undefined
  readonly data: string | undefined
  readonly expiresAtMs: number | undefined
  /** Channels that the server subscribes it to, with what is told of it there. */
  readonly channels: ReadonlyMap<
    string,
    { readonly info: string | undefined; readonly data: string | undefined }
  >
}

/** Recognises the client, and subscribes it to the channels that its token or the application names. */
export function handleConnect(
  session: ClientSession,
  request: Request,
  reply: Reply,
): Promise<void> | undefined {
  if (session.state !== 'new' && session.state !== 'refused') throw new Closing(DISCONNECTS.badRequest)
  session.state = 'connecting'
  const { token, data, name, version } = request
  const decided = session.shared.hooks.connect?.({ client: session.client, token, data, name, version })
  if (!isPromise(decided)) return decide(session, request, decided, reply)
  return Promise.resolve(decided).then((decision) => decide(session, request, decision, reply))
}

function decide(
  session: ClientSession,
  request: Request,
  decision: ConnectDecision | undefined,
  reply: Reply,
): Promise<void> | undefined {
  checkDecision('connect', decision)
  const admitted = decision === undefined ? authenticate(session, request.token) : admittedAs(decision)
  session.user = admitted.user
  session.connInfo = admitted.info
  const pending: PendingSubscription[] = []
  try {
    for (const [channel, grant] of admitted.channels) pending.push(open(session, request, channel, grant))
  } catch (error) {
    for (const one of pending) one.abort()
    throw error
  }
  return joinAll(pending, (told) => answer(session, admitted, told, reply))
}

/** By the token. Throws errors 100, 102, 103, 107 and 109, or a Closing. */
function authenticate(session: ClientSession, token: string): Admitted {
  const { authenticator, channels, metrics } = session.shared
  const { identity, failure } = authenticator.authenticate(token === '' ? undefined : token)
  if (identity !== undefined) {
    const admitted = admittedBy(identity)
    // A token goes before what a namespace allows whom, but not before what a channel's name says.
    for (const channel of admitted.channels.keys()) {
      if (subscribeRule(channels.namespaceOf(channel), channel, admitted.user) !== 'denied') continue
      throw errors.permissionDenied('the token names a channel that this user may not be in')
    }
    return admitted
  }
  metrics.authFailures.inc({ reason: failure })
  if (failure === 'missing') throw new Closing(DISCONNECTS.badRequest)
  // The client fetches a new token, or waits, and connects again.
  throw retryableRefusal(failure) ?? new Closing(DISCONNECTS.invalidToken)
}

function admittedBy({ user, info, expiresAtMs, channels = [], subs = {} }: Identity): Admitted {
  const grants = new Map(channels.map((channel) => [channel, { info: undefined, data: undefined }] as const))
  return {
    user,
    info,
    data: undefined,
    expiresAtMs,
    channels: new Map([...grants, ...Object.entries(subs)]),
  }
}

/** Throws error 109: whoever is let in must not be gone before it is told so. */
function admittedAs(decision: ConnectDecision): Admitted {
  checkConnectDecision(decision)
  const { user, info, data, channels = [] } = decision
  const expiresAtMs = expiryOf(decision)
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) throw errors.tokenExpired('fetch a new one')
  return {
    user,
    info: toJsonText(info),
    data: toJsonText(data),
    expiresAtMs,
    channels: new Map(channels.map((channel) => [channel, { info: undefined, data: undefined }])),
  }
}

function open(
  session: ClientSession,
  { subs = {} }: Request,
  channel: string,
  { info, data }: { readonly info: string | undefined; readonly data: string | undefined },
): PendingSubscription {
  const asked = Object.hasOwn(subs, channel) ? subs[channel] : undefined
  return PendingSubscription.open(session, {
    channel,
    namespace: session.shared.channels.namespaceOf(channel),
    isServerSide: true,
    wantsJoinLeave: false,
    wantsPosition: true,
    wantsRecovery: true,
    since: asked?.recover === true ? { epoch: asked.epoch, offset: asked.offset } : undefined,
    chanInfo: info,
    data,
    expiresAtMs: undefined,
  })
}

/** The one reply that tells of the connection and of the subscriptions that come with it. */
function answer(
  session: ClientSession,
  { user, info, data, expiresAtMs }: Admitted,
  told: Told,
  reply: Reply,
): void {
  const { node, pingIntervalMs } = session.shared
  const ttl = expiresAtMs === undefined ? undefined : secondsUntil(expiresAtMs)
  session.connected(user, info, expiresAtMs)
  reply({
    client: session.client,
    version: node.version,
    expires: ttl !== undefined,
    ttl,
    data: jsonText(data),
    subs: told.size === 0 ? undefined : resultsOf(told),
    ping: Math.max(1, Math.ceil(pingIntervalMs / 1_000)),
    pong: true,
    session: session.client,
    node: node.id,
    time: Date.now(),
  })
}

/** From pairs, since a channel may be called `__proto__`. */
function resultsOf(told: Told): JsonValue {
  return Object.fromEntries([...told].map(([channel, subscribed]) => [channel, subscribeResult(subscribed)]))
}
