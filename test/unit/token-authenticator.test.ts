import { generateKeyPairSync } from 'node:crypto'
import { createSigner } from 'fast-jwt'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { TokenAuthenticator, type TokenAuthenticatorOptions } from '../../src/auth/token-authenticator.js'
import { encode, hmac, hmacOfPayload, SECRET } from '../support/forged-jwt.js'
import { jwtVerifier } from '../support/jwt-verifier.js'

const NOW_SECONDS = 1_800_000_000

function authenticator(options: Partial<TokenAuthenticatorOptions> = {}): TokenAuthenticator {
  return new TokenAuthenticator({
    staticTokens: [],
    jwts: jwtVerifier({ hmacSecret: SECRET }),
    allowAnonymous: false,
    ...options,
  })
}

const invalid = { failure: 'invalid' }

afterEach(() => vi.useRealTimers())

describe('a static token', () => {
  const staticTokens = [
    { user: 'ann', token: 'first' },
    { user: '', token: 'second' },
  ]
  const auth = authenticator({ staticTokens })

  it('identifies its user, without a limit to channels', () => {
    expect(auth.authenticate('first')).toEqual({ identity: { user: 'ann', channels: undefined } })
    expect(auth.authenticate('second')).toEqual({ identity: { user: '', channels: undefined } })
  })

  it.each(['First', 'firsT', 'firß', 'firs', 'first ', 'firstfirst', 'second\0', 'ann', 'ann=first', ' '])(
    'is not %j',
    (token) => expect(auth.authenticate(token)).toEqual(invalid),
  )

  it('is accepted after a wrong one of the same length', () => {
    auth.authenticate('wrong')
    expect(auth.authenticate('first')).toEqual({ identity: { user: 'ann', channels: undefined } })
  })

  it('may have any characters', () => {
    const token = 'schlüssel-🔑'
    const unusual = authenticator({ staticTokens: [{ user: 'ann', token }] })
    expect(unusual.authenticate(token)).toEqual({ identity: { user: 'ann', channels: undefined } })
    expect(unusual.authenticate('schlüssel-🔒')).toEqual(invalid)
  })

  it('is accepted without a secret for JWTs, while no JWT is', () => {
    const without = authenticator({ staticTokens, jwts: jwtVerifier() })
    expect(without.authenticate('first').identity?.user).toBe('ann')
    expect(without.authenticate(hmac({ sub: 'ann' }))).toEqual(invalid)
  })
})

describe('no token', () => {
  it.each([undefined, ''])('(%j) is missing', (token) =>
    expect(authenticator().authenticate(token)).toEqual({ failure: 'missing' }),
  )

  it.each([undefined, ''])('(%j) is the anonymous user where that is allowed', (token) => {
    const auth = authenticator({ allowAnonymous: true })
    expect(auth.authenticate(token)).toEqual({ identity: { user: '', channels: undefined } })
  })

  it('is different from a wrong one, which is never accepted', () => {
    expect(authenticator({ allowAnonymous: true }).authenticate('wrong')).toEqual(invalid)
  })
})

describe('a JWT', () => {
  const auth = authenticator()

  it('signed by another library identifies its user and its expiry', () => {
    const token = createSigner({ key: SECRET, algorithm: 'HS256', expiresIn: 60_000 })({ sub: 'ann' })
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      exp: number
    }
    expect(auth.authenticate(token).identity).toMatchObject({ user: 'ann', expiresAtMs: exp * 1_000 })
  })

  it.each([
    ['HS256', 'sha256'],
    ['HS384', 'sha384'],
    ['HS512', 'sha512'],
  ])('may be signed with %s', (alg, hash) => {
    expect(auth.authenticate(hmac({ sub: 'ann' }, { alg }, SECRET, hash)).identity?.user).toBe('ann')
  })

  it('may name no user, and the allowed channels', () => {
    expect(auth.authenticate(hmac({}))).toEqual({ identity: { user: '', channels: undefined } })
    expect(auth.authenticate(hmac({ sub: 'a', channels: ['x', 'y'] }))).toEqual({
      identity: { user: 'a', channels: ['x', 'y'] },
    })
    expect(auth.authenticate(hmac({ channels: [] })).identity?.channels).toEqual([])
  })

  it.each([
    ['without signature', `${encode({ alg: 'none' })}.${encode({ sub: 'eve' })}.`],
    ['without signature, spelled otherwise', `${encode({ alg: 'NONE' })}.${encode({ sub: 'eve' })}.`],
    ['without signature under the right algorithm', `${encode({ alg: 'HS256' })}.${encode({ sub: 'eve' })}.`],
    ['with the algorithm none and a signature', hmac({ sub: 'eve' }, { alg: 'none' })],
    ['signed with another secret', hmac({ sub: 'eve' }, undefined, `${SECRET}!`)],
    ['signed with no secret', hmac({ sub: 'eve' }, undefined, '')],
    ['signed with HS512 that names HS256', hmac({ sub: 'eve' }, undefined, SECRET, 'sha512')],
    ['signed with HS256 that names RS256', hmac({ sub: 'eve' }, { alg: 'RS256' })],
    ['without algorithm', hmac({ sub: 'eve' }, { typ: 'JWT' })],
    ['whose header is null', hmac({ sub: 'eve' }, null)],
  ])('%s is not valid', (_, token) => expect(auth.authenticate(token)).toEqual(invalid))

  it('signed with RSA is not valid', () => {
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    })
    const token = createSigner({ key: privateKey, algorithm: 'RS256' })({ sub: 'eve' })
    expect(auth.authenticate(token)).toEqual(invalid)
  })

  it('that was changed after it was signed is not valid', () => {
    const [header, , signature] = hmac({ sub: 'ann' }).split('.')
    expect(auth.authenticate(`${header}.${encode({ sub: 'eve' })}.${signature}`)).toEqual(invalid)
    expect(auth.authenticate(`${hmac({ sub: 'ann' })}x`)).toEqual(invalid)
    expect(auth.authenticate(`${hmac({ sub: 'ann' })}.x`)).toEqual(invalid)
  })

  it.each([1, null, true, ['ann'], { name: 'ann' }])('for the user %j is not valid', (sub) =>
    expect(auth.authenticate(hmac({ sub }))).toEqual(invalid),
  )

  it.each(['room', 1, null, true, {}, [1], ['room', null], [['room']], { 0: 'room', length: 1 }])(
    'for the channels %j is not valid',
    (channels) => expect(auth.authenticate(hmac({ sub: 'ann', channels }))).toEqual(invalid),
  )

  it.each(['"ann"', '17', 'null', '[]', 'not JSON', ''])('whose payload is %s is not valid', (payload) => {
    const result = auth.authenticate(hmacOfPayload(payload))
    // An empty list counts as an object without claims, and issuers sign none.
    if (payload !== '[]') expect(result).toEqual(invalid)
    expect(result.identity?.user ?? '').toBe('')
  })

  it('has no claims from a field __proto__', () => {
    const payload = '{"__proto__":{"sub":"eve","channels":["x"]}}'
    const { identity } = auth.authenticate(hmacOfPayload(payload))
    expect(identity?.user ?? '').toBe('')
    expect(identity?.channels).toBeUndefined()
    expect(Object.getPrototypeOf({})).toBe(Object.prototype)
    expect('sub' in {}).toBe(false)
  })
})

describe('the validity of a JWT', () => {
  function at(seconds: number, claims: Readonly<Record<string, unknown>>) {
    vi.useFakeTimers({ now: seconds * 1_000 })
    return authenticator().authenticate(hmac(claims))
  }

  it('ends at exp', () => {
    expect(at(NOW_SECONDS - 1, { exp: NOW_SECONDS }).identity).toBeDefined()
    expect(at(NOW_SECONDS + 1, { exp: NOW_SECONDS })).toEqual({ failure: 'expired' })
  })

  it('begins at nbf', () => {
    expect(at(NOW_SECONDS - 1, { nbf: NOW_SECONDS })).toEqual({ failure: 'not_yet_valid' })
    expect(at(NOW_SECONDS + 1, { nbf: NOW_SECONDS }).identity).toBeDefined()
  })

  it.each(['tomorrow', `${NOW_SECONDS + 60}`, null, [NOW_SECONDS + 60], true])(
    'cannot have %j as exp or nbf',
    (time) => {
      expect(at(NOW_SECONDS, { exp: time })).toEqual(invalid)
      expect(at(NOW_SECONDS, { nbf: time })).toEqual(invalid)
    },
  )

  it('is not disclosed for a wrong signature', () => {
    vi.useFakeTimers({ now: NOW_SECONDS * 1_000 })
    const expired = hmac({ exp: NOW_SECONDS - 60 }, undefined, 'another')
    expect(authenticator().authenticate(expired)).toEqual(invalid)
  })
})

describe('garbage', () => {
  const auth = authenticator({ staticTokens: [{ user: 'ann', token: 'first' }] })

  it.each([
    '.',
    '..',
    '...',
    'a.b.c',
    'null',
    '__proto__',
    'constructor',
    '\0',
    '😀',
    '\ud800',
    '{}',
    'x'.repeat(10_240),
    '.'.repeat(10_240),
    `${encode({ alg: 'HS256' })}.${'x'.repeat(10_240)}.x`,
    `${'['.repeat(10_240)}.${'['.repeat(10_240)}.x`,
    hmac({ sub: 'eve' }, { alg: '__proto__' }),
    hmac({ sub: 'eve' }, { alg: 'toString' }),
    hmac({ sub: 'eve' }, { alg: ['HS256'] }),
  ])('is not valid, and never throws: %#', (token) => expect(auth.authenticate(token)).toEqual(invalid))
})
