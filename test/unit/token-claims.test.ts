import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SubscriptionAuthentication } from '../../src/auth/authenticator.js'
import { TokenAuthenticator } from '../../src/auth/token-authenticator.js'
import { hmac, hmacOfPayload, SECRET } from '../support/forged-jwt.js'
import { jwtVerifier } from '../support/jwt-verifier.js'

const NOW_SECONDS = 1_800_000_000
const INVALID = { failure: 'invalid' }

beforeEach(() => {
  vi.useFakeTimers({ now: NOW_SECONDS * 1_000 })
})
afterEach(() => vi.useRealTimers())

const authenticator = (audience?: string, issuer?: string) =>
  new TokenAuthenticator({
    staticTokens: [{ user: 'ann', token: 'static' }],
    jwts: jwtVerifier({ hmacSecret: SECRET, audience, issuer }),
    allowAnonymous: true,
  })

describe('the token of a connection', () => {
  it('carries the user, the infos, the channels and the expiry', () => {
    const claims = {
      sub: 'ann',
      info: { name: 'Ann\n' },
      channels: ['news'],
      subs: { 'chat:1': { info: [1], data: { a: 1 } }, lobby: {} },
      exp: NOW_SECONDS + 60,
    }
    expect(authenticator().authenticate(hmac(claims)).identity).toEqual({
      user: 'ann',
      channels: ['news'],
      subs: {
        'chat:1': { info: '[1]', data: '{"a":1}' },
        lobby: { info: undefined, data: undefined },
      },
      info: '{"name":"Ann\\n"}',
      expiresAtMs: (NOW_SECONDS + 60) * 1_000,
    })
  })

  it.each([
    [{ exp: NOW_SECONDS + 60 }, NOW_SECONDS + 60],
    [{ exp: NOW_SECONDS + 60, expire_at: NOW_SECONDS + 5 }, NOW_SECONDS + 5],
    [{ exp: NOW_SECONDS + 60, expire_at: 0 }, undefined],
    [{ expire_at: NOW_SECONDS + 5 }, NOW_SECONDS + 5],
    [{ exp: NOW_SECONDS + 60, expire_at: null }, NOW_SECONDS + 60],
    [{}, undefined],
  ])('with %j expires at %s', (claims, seconds) => {
    const { identity } = authenticator().authenticate(hmac(claims))
    expect(identity?.expiresAtMs).toBe(seconds === undefined ? undefined : seconds * 1_000)
  })

  it.each([
    { sub: 17 },
    { sub: null },
    { sub: 'x'.repeat(256) },
    { channels: 'news' },
    { channels: [17] },
    { channels: { news: {} } },
    { channels: null },
    { subs: ['news'] },
    { subs: 'news' },
    { subs: null },
    { subs: { news: true } },
    { subs: { news: null } },
    { subs: { news: [] } },
    { expire_at: 'tomorrow' },
    { expire_at: -5 },
    { expire_at: [5] },
    { expire_at: {} },
    { expire_at: true },
    { channel: 'news' },
    { channel: null },
  ])('with %j is not valid', (claims) => {
    expect(authenticator().authenticate(hmac({ sub: 'ann', ...claims }))).toEqual(INVALID)
  })

  it('with an expire_at in the past has expired', () => {
    const claims = { sub: 'ann', exp: NOW_SECONDS + 60, expire_at: NOW_SECONDS }
    expect(authenticator().authenticate(hmac(claims))).toEqual({ failure: 'expired' })
    const subscription = hmac({ ...claims, channel: 'news' })
    expect(authenticator().authenticateSubscription(subscription, 'ann', 'news')).toEqual({
      failure: 'expired',
    })
  })

  it('takes __proto__ in subs only as the name of a channel', () => {
    const claims: unknown = JSON.parse('{"sub":"ann","subs":{"__proto__":{"info":1},"constructor":{}}}')
    const { identity } = authenticator().authenticate(hmac(claims))
    expect(Object.entries(identity?.subs ?? {})).toEqual([
      ['__proto__', { info: '1', data: undefined }],
      ['constructor', { info: undefined, data: undefined }],
    ])
    expect(Object.getPrototypeOf(identity?.subs)).toBe(Object.prototype)
    expect('info' in {}).toBe(false)
  })

  it('may be nested as deeply as its length allows', () => {
    const token = hmacOfPayload(`{"info":${'['.repeat(2_900)}${']'.repeat(2_900)}}`)
    expect(token.length).toBeLessThanOrEqual(8 * 1024)
    expect(authenticator().authenticate(token).identity?.info).toHaveLength(5_800)
  })
})

describe('the token of a subscription', () => {
  const authenticate = (claims: object, user = 'ann', channel = '$chat:1'): SubscriptionAuthentication =>
    authenticator().authenticateSubscription(hmac(claims), user, channel)

  it('is valid for one user in one channel', () => {
    const claims = { sub: 'ann', channel: '$chat:1', info: { role: 'mod' }, exp: NOW_SECONDS + 60 }
    expect(authenticate(claims)).toEqual({
      grant: { info: '{"role":"mod"}', expiresAtMs: (NOW_SECONDS + 60) * 1_000 },
    })
    expect(authenticate(claims, 'bob')).toEqual(INVALID)
    expect(authenticate(claims, '')).toEqual(INVALID)
    expect(authenticate(claims, 'ann', '$chat:2')).toEqual(INVALID)
    expect(authenticate(claims, 'ann', 'chat:1')).toEqual(INVALID)
  })

  it('without a user is valid for the anonymous user only', () => {
    expect(authenticate({ channel: '$chat:1' }, '').grant).toBeDefined()
    expect(authenticate({ channel: '$chat:1' }, 'ann')).toEqual(INVALID)
  })

  it('is not valid for a connection, nor a connection token for a subscription', () => {
    expect(authenticate({ sub: 'ann' })).toEqual(INVALID)
    expect(authenticate({ sub: 'ann', channels: ['$chat:1'], subs: { '$chat:1': {} } })).toEqual(INVALID)
    expect(authenticator().authenticate(hmac({ sub: 'ann', channel: '$chat:1' }))).toEqual(INVALID)
  })

  it('is neither a static token nor empty', () => {
    for (const token of ['static', '', 'x', '..']) {
      expect(authenticator().authenticateSubscription(token, 'ann', '$chat:1')).toEqual(INVALID)
    }
  })

  it.each([
    [{ exp: NOW_SECONDS - 1 }, { failure: 'expired' }],
    [{ nbf: NOW_SECONDS + 60 }, { failure: 'not_yet_valid' }],
    [{ expire_at: 'never' }, INVALID],
    [{ channel: ['$chat:1'] }, INVALID],
    [{ channel: { toString: '$chat:1' } }, INVALID],
    [{ sub: ['ann'] }, INVALID],
  ])('with %j is %j', (claims, result) => {
    expect(authenticate({ sub: 'ann', channel: '$chat:1', ...claims })).toEqual(result)
  })

  it('must be signed, with the expected audience and issuer', () => {
    const claims = { sub: 'ann', channel: '$chat:1' }
    const auth = authenticator('chat', 'id')
    const verify = (token: string) => auth.authenticateSubscription(token, 'ann', '$chat:1')
    expect(verify(hmac(claims))).toEqual(INVALID)
    expect(verify(hmac({ ...claims, aud: 'chat' }))).toEqual(INVALID)
    expect(verify(hmac({ ...claims, aud: 'chat', iss: 'id' })).grant).toBeDefined()
    expect(verify(hmac({ ...claims, aud: 'chat', iss: 'id' }, { alg: 'HS256' }, 'another'))).toEqual(INVALID)
  })
})
