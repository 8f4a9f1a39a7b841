import { stringify } from '../protocol/json-text.js'
import { isRecord } from '../type-guards.js'
import type { ChannelGrant, Identity } from './authenticator.js'

/** The longest user name, in UTF-16 units: presence, logs and relay messages contain it. */
export const MAX_USER_LENGTH = 255

/** The decoded payload of a token. */
export type Claims = Readonly<Record<string, unknown>>

/**
 * Reads the claims of a connection token: `sub` (user), `info`, `channels`, `subs`, `exp` and `expire_at`, which may
 * all be absent. Returns undefined when one of them has a wrong type or value.
 */
export function readIdentity(claims: Claims): Identity | undefined {
  const user = readUser(claims)
  const expiresAtMs = readExpiry(claims)
  const { channels } = claims
  const subs = readSubs(claims['subs'])
  if (user === undefined || expiresAtMs === 'invalid' || subs === 'invalid') return undefined
  if (channels !== undefined && !isStringArray(channels)) return undefined
  // A token with `channel` is a subscription token, with which a client must not be able to connect.
  if (claims['channel'] !== undefined) return undefined
  return { user, channels, subs, info: stringify(claims['info']), expiresAtMs }
}

/** The claim `sub`; empty when absent. Undefined when it is no text or too long. */
export function readUser({ sub = '' }: Claims): string | undefined {
  return typeof sub === 'string' && sub.length <= MAX_USER_LENGTH ? sub : undefined
}

/**
 * When a token's connection or subscription expires, in Unix milliseconds: `expire_at` when present, else `exp`.
 * Undefined for never, which `expire_at` of 0 means too.
 */
export function readExpiry({ expire_at: expireAt, exp }: Claims): number | undefined | 'invalid' {
  const seconds = expireAt ?? exp
  if (seconds === undefined || expireAt === 0) return undefined
  return typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : 'invalid'
}

export function isStringArray(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((element) => typeof element === 'string')
}

function readSubs(subs: unknown): Readonly<Record<string, ChannelGrant>> | undefined | 'invalid' {
  if (subs === undefined) return undefined
  if (!isRecord(subs)) return 'invalid'
  const grants: [string, ChannelGrant][] = []
  for (const [channel, options] of Object.entries(subs)) {
    if (!isRecord(options)) return 'invalid'
    grants.push([channel, { info: stringify(options['info']), data: stringify(options['data']) }])
  }
  return Object.fromEntries(grants)
}
