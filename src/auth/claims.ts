import type { ChannelGrant, Identity } from './authenticator.js'
import type { Claims } from './jwt-verifier.js'

/** The longest user's name, in UTF-16 units: it stands in presence, logs and the relay's messages. */
export const MAX_USER_LENGTH = 255

/**
 * Reads a connection's claims: `sub` (user), `info`, `channels`, `subs`, `exp` and `expire_at` may all be absent.
 * Undefined where one is not what it should be.
 */
export function readIdentity(claims: Claims): Identity | undefined {
  const user = readUser(claims)
  const expiresAtMs = readExpiry(claims)
  const { channels } = claims
  const subs = readSubs(claims['subs'])
  if (user === undefined || expiresAtMs === 'wrong' || subs === 'wrong') return undefined
  if (channels !== undefined && !isListOfTexts(channels)) return undefined
  // A subscription's token is for its channel, and lets nobody connect.
  if (claims['channel'] !== undefined) return undefined
  return { user, channels, subs, info: textOf(claims['info']), expiresAtMs }
}

/** `sub`; empty where there is none. Undefined for what is no name. */
export function readUser({ sub = '' }: Claims): string | undefined {
  return typeof sub === 'string' && sub.length <= MAX_USER_LENGTH ? sub : undefined
}

/** `expire_at` where it is given, 0 for never; else `exp`. Unix milliseconds. */
export function readExpiry({ expire_at: expireAt, exp }: Claims): number | undefined | 'wrong' {
  const seconds = expireAt ?? exp
  if (seconds === undefined || expireAt === 0) return undefined
  return typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : 'wrong'
}

/** One line of JSON; undefined stays undefined. What came in a token is not nested too deeply to be written. */
export function textOf(value: unknown): string | undefined {
  return value === undefined ? undefined : JSON.stringify(value)
}

function isListOfTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function readSubs(subs: unknown): Readonly<Record<string, ChannelGrant>> | undefined | 'wrong' {
  if (subs === undefined) return undefined
  if (!isObject(subs)) return 'wrong'
  const grants: [string, ChannelGrant][] = []
  for (const [channel, options] of Object.entries(subs)) {
    if (!isObject(options)) return 'wrong'
    grants.push([channel, { info: textOf(options['info']), data: textOf(options['data']) }])
  }
  return Object.fromEntries(grants)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
