import type { ConnectionSelector } from '../connection/connection-control.js'
import type { Node } from '../node/node.js'
import type { ControlQuestion } from '../node/peers.js'
import { type Close, DISCONNECTS } from '../protocol/closes.js'
import { errors, ProtocolError } from '../protocol/errors.js'
import type { ApiResult } from './api-results.js'
import type { ApiBody } from './api-schemas.js'

export function unsubscribeQuestion(body: ApiBody<'unsubscribe'>): ControlQuestion {
  return { about: 'unsubscribe', to: addressee(body), channel: body.channel }
}

export function disconnectQuestion(body: ApiBody<'disconnect'>): ControlQuestion {
  const { code, reason = usualReason(code), whitelist } = body
  const close: Close = { code, reason }
  return { about: 'disconnect', to: addressee(body), close, whitelist }
}

export function refreshQuestion(body: ApiBody<'refresh'>): ControlQuestion {
  const expiresAtMs = body.expired ? 0 : toMilliseconds(body.expire_at)
  return { about: 'refresh', to: addressee(body), expiresAtMs }
}

/** `info` and `data` are JSON texts of one line. Throws error 110. */
export function subscribeQuestion(
  body: ApiBody<'subscribe'>,
  info: string | undefined,
  data: string | undefined,
): ControlQuestion {
  const expiresAtMs = toMilliseconds(body.expire_at)
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) throw errors.expired('expire_at is in the past')
  const options = {
    info,
    data,
    expiresAtMs,
    recoverSince: body.recover_since,
  }
  return { about: 'subscribe', to: addressee(body), channel: body.channel, options }
}

/** What the server API asks of all nodes of the cluster. */
export type ClusterNodes = Pick<Node, 'info' | 'channels' | 'controlConnections'>

/**
 * Asks all nodes, and adds up to how many connections it was done. Rejects with the ProtocolError of a connection that
 * refused when none did not: a user's raw connection does not spoil what is done to another one.
 */
export async function control(
  node: ClusterNodes,
  question: ControlQuestion,
): Promise<ApiResult<'disconnect'>> {
  const { answers, missing } = await node.controlConnections(question)
  const touched = answers.reduce((sum, answer) => sum + answer.touched, 0)
  const refusal = answers.find((answer) => answer.refusal !== undefined)?.refusal
  if (touched === 0 && refusal !== undefined) throw new ProtocolError(refusal.code, refusal.message)
  return { num_clients: touched, ...missingNodes(missing) }
}

/** Named only where there are any: an answer that is not whole says so. */
export function missingNodes(missing: readonly string[]) {
  return missing.length === 0 ? {} : { missing_nodes: [...missing] }
}

function addressee({ user, client, session }: ConnectionSelector): ConnectionSelector {
  return { user, client, session }
}

/** 0 is never, as in tokens. */
function toMilliseconds(unixSeconds: number | undefined): number | undefined {
  return unixSeconds === undefined || unixSeconds === 0 ? undefined : unixSeconds * 1_000
}

function usualReason(code: number): string {
  return Object.values(DISCONNECTS).find((disconnect) => disconnect.code === code)?.reason ?? ''
}
