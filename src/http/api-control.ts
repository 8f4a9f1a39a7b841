import type { ConnectionSelector } from '../connection/connection-control.js'
import type { Node } from '../node/node.js'
import type { ControlQuestion } from '../node/peers.js'
import { type Close, DISCONNECTS } from '../protocol/closes.js'
import { errors, ProtocolError } from '../protocol/errors.js'
import type { ApiResult } from './api-results.js'
import type { ApiBody } from './api-schemas.js'

/** The question to every node that a call of `unsubscribe` becomes. */
export function unsubscribeQuestion(body: ApiBody<'unsubscribe'>): ControlQuestion {
  return { about: 'unsubscribe', to: selectorOf(body), channel: body.channel }
}

/** The same for `disconnect`. Without a reason, the protocol's own reason for the code is sent. */
export function disconnectQuestion(body: ApiBody<'disconnect'>): ControlQuestion {
  const { code, reason = defaultReason(code), whitelist } = body
  const close: Close = { code, reason }
  return { about: 'disconnect', to: selectorOf(body), close, whitelist }
}

/** The same for `refresh`. A time of 0 expires the connections at once. */
export function refreshQuestion(body: ApiBody<'refresh'>): ControlQuestion {
  const expiresAtMs = body.expired ? 0 : toMilliseconds(body.expire_at)
  return { about: 'refresh', to: selectorOf(body), expiresAtMs }
}

/**
 * The same for `subscribe`. `info` and `data` are JSON texts of one line. Throws error 110 for an expiry in the past.
 */
export function subscribeQuestion(
  body: ApiBody<'subscribe'>,
  info: string | undefined,
  data: string | undefined,
): ControlQuestion {
  const expiresAtMs = toMilliseconds(body.expire_at)
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) throw errors.expired('expire_at is in the past')
  const options = { info, data, expiresAtMs, recoverSince: body.recover_since }
  return { about: 'subscribe', to: selectorOf(body), channel: body.channel, options }
}

/** The requests of the server API to all nodes of the cluster. */
export type ClusterNodes = Pick<Node, 'info' | 'channels' | 'controlConnections'>

/**
 * Asks all nodes, and resolves with the number of connections that the request was applied to. Rejects with the
 * ProtocolError of a connection that refused only where it was applied to none: a user's raw connection, which cannot
 * be subscribed, does not make the request fail for the user's other connections.
 */
export async function controlConnections(
  node: ClusterNodes,
  question: ControlQuestion,
): Promise<ApiResult<'disconnect'>> {
  const { answers, missing } = await node.controlConnections(question)
  const clients = answers.reduce((sum, answer) => sum + answer.touched, 0)
  const refusal = answers.find((answer) => answer.refusal !== undefined)?.refusal
  if (clients === 0 && refusal !== undefined)
    throw new ProtocolError(refusal.code, refusal.message, refusal.temporary)
  return { num_clients: clients, ...missingNodes(missing) }
}

/** The field `missing_nodes`, which is present only where nodes are missing: it marks an incomplete answer. */
export function missingNodes(missing: readonly string[]) {
  return missing.length === 0 ? {} : { missing_nodes: [...missing] }
}

function selectorOf({ user, client, session }: ConnectionSelector): ConnectionSelector {
  return { user, client, session }
}

/** Undefined for 0, which means no expiry, as in tokens. */
function toMilliseconds(unixSeconds: number | undefined): number | undefined {
  return unixSeconds === undefined || unixSeconds === 0 ? undefined : unixSeconds * 1_000
}

function defaultReason(code: number): string {
  return Object.values(DISCONNECTS).find((disconnect) => disconnect.code === code)?.reason ?? ''
}
