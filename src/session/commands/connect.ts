import type { ChannelGrant, Identity } from '../../auth/authenticator.js'
import { subscribeRule } from '../../channel/permissions.js'
import type { ClientRequest } from '../../protocol/client-requests.js'
import { CloseConnection, DISCONNECTS } from '../../protocol/closes.js'
import { errors } from '../../protocol/errors.js'
import { jsonText, stringify } from '../../protocol/json-text.js'
import type { JsonValue } from '../../protocol/json-writer.js'
import type { ClientConnection } from '../client-connection.js'
import { expiryFields } from '../expiry.js'
import { type ConnectDecision, checkConnectDecision, checkDecision, expiryOf, isPromise } from '../hooks.js'
import {
  joinAll,
  PendingSubscription,
  type SubscribeOutcomes,
  subscribeResult,
} from '../pending-subscription.js'
import { verifyConnectionToken } from '../token-checks.js'
import type { Reply } from './command-handler.js'

type Request = ClientRequest<'connect'>

/** What a token, or an application, grants to a connection. */
interface ConnectGrant {
  readonly user: string
  readonly info: string | undefined
  readonly data: string | undefined
  readonly expiresAtMs: number | undefined
  /** Channels of server-side subscriptions, with the info and the data of each. */
  readonly channels: ReadonlyMap<string, ChannelGrant>
}

const EMPTY_CHANNEL_GRANT: ChannelGrant = { info: undefined, data: undefined }

/** Identifies the client, and subscribes it to the channels that its token or the application names. */
export function handleConnect(
  connection: ClientConnection,
  request: Request,
  reply: Reply,
): Promise<void> | undefined {
  if (connection.state !== 'new' && connection.state !== 'refused') {
    throw new CloseConnection(DISCONNECTS.badRequest)
  }
  connection.beginConnect()
  const { token, data, name, version } = request
  const { client, context } = connection
  const decided = context.hooks.connect?.({ client, token, data, name, version })
  if (!isPromise(decided)) return connect(connection, request, decided, reply)
  return Promise.resolve(decided).then((decision) => connect(connection, request, decision, reply))
}

function connect(
  connection: ClientConnection,
  request: Request,
  decision: ConnectDecision | undefined,
  reply: Reply,
): Promise<void> | undefined {
  checkDecision('connect', decision)
  const grant = decision === undefined ? grantOfToken(connection, request.token) : grantOfDecision(decision)
  connection.identify(grant.user, grant.info)
  const pending: PendingSubscription[] = []
  try {
    for (const [channel, channelGrant] of grant.channels) {
      pending.push(beginSubscription(connection, request, channel, channelGrant))
    }
  } catch (error) {
    for (const one of pending) one.abort()
    throw error
  }
  return joinAll(pending, (outcomes) => complete(connection, grant, outcomes, reply))
}

/** Throws errors 100, 102, 103, 107 and 109, or a CloseConnection. */
function grantOfToken(connection: ClientConnection, token: string): ConnectGrant {
  const identity = verifyConnectionToken(connection, token, DISCONNECTS.badRequest)
  const { user, info, expiresAtMs } = identity
  const channels = channelsOf(identity)
  // A token overrules what the namespace allows to clients, but not the users that a channel's name lists.
  for (const channel of channels.keys()) {
    const namespace = connection.context.channels.namespaceOf(channel)
    if (subscribeRule(namespace, channel, user) === 'denied') {
      throw errors.permissionDenied('the token names a channel that this user may not be in')
    }
  }
  return { user, info, data: undefined, expiresAtMs, channels }
}

function channelsOf({ channels = [], subs = {} }: Identity): ReadonlyMap<string, ChannelGrant> {
  const named = channels.map((channel) => [channel, EMPTY_CHANNEL_GRANT] as const)
  return new Map([...named, ...Object.entries(subs)])
}

/** Throws error 109 for an expiry in the past: the connection must not end before its reply. */
function grantOfDecision(decision: ConnectDecision): ConnectGrant {
  checkConnectDecision(decision)
  const { user, info, data, channels = [] } = decision
  const expiresAtMs = expiryOf(decision)
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) throw errors.tokenExpired('fetch a new one')
  return {
    user,
    info: stringify(info),
    data: stringify(data),
    expiresAtMs,
    channels: new Map(channels.map((channel) => [channel, EMPTY_CHANNEL_GRANT])),
  }
}

function beginSubscription(
  connection: ClientConnection,
  { subs = {} }: Request,
  channel: string,
  { info, data }: ChannelGrant,
): PendingSubscription {
  const requested = Object.hasOwn(subs, channel) ? subs[channel] : undefined
  return PendingSubscription.begin(connection, {
    channel,
    namespace: connection.context.channels.namespaceOf(channel),
    isServerSide: true,
    wantsJoinLeave: false,
    wantsPosition: true,
    wantsRecovery: true,
    since: requested?.recover === true ? { epoch: requested.epoch, offset: requested.offset } : undefined,
    chanInfo: info,
    data,
    expiresAtMs: undefined,
  })
}

/** Replies, once, for the connection and its server-side subscriptions. */
function complete(
  connection: ClientConnection,
  { data, expiresAtMs }: ConnectGrant,
  outcomes: SubscribeOutcomes,
  reply: Reply,
): void {
  const { node, pingIntervalMs } = connection.context
  connection.completeConnect(expiresAtMs)
  reply({
    client: connection.client,
    version: node.version,
    ...expiryFields(expiresAtMs),
    data: jsonText(data),
    subs: outcomes.size === 0 ? undefined : resultsOf(outcomes),
    ping: Math.max(1, Math.ceil(pingIntervalMs / 1_000)),
    pong: true,
    session: connection.client,
    node: node.id,
    time: Date.now(),
  })
}

/** From entries, since a channel may be called `__proto__`. */
function resultsOf(outcomes: SubscribeOutcomes): JsonValue {
  return Object.fromEntries([...outcomes].map(([channel, outcome]) => [channel, subscribeResult(outcome)]))
}
