import { createHmac, generateKeyPairSync } from 'node:crypto'
import { createSigner } from 'fast-jwt'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { JwtVerifier } from '../../src/auth/jwt-verifier.js'
import { TokenAuthenticator, type TokenAuthenticatorOptions } from '../../src/auth/token-authenticator.js'

const SECRET = 'a secret that is long enough for HMAC with SHA-256'
const NOW_SECONDS = 1_800_000_000

function verifier(hmacSecret: string | undefined): JwtVerifier {
  return new JwtVerifier({
    hmacSecret,
    publicKeys: undefined,
    remoteKeys: undefined,
    audience: undefined,
    issuer: undefined,
  })
}

function authenticator(options: Partial<TokenAuthenticatorOptions> = {}): TokenAuthenticator {
  return new TokenAuthenticator({
    staticTokens: [],
    jwts: verifier(SECRET),
    allowAnonymous: false,
    ...options,
  })
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs whatever is given, as an attacker or another library would: no claim is checked. */
function jwt(
  payload: unknown,
  header: unknown = { alg: 'HS256', typ: 'JWT' },
  hash = 'sha256',
  key = SECRET,
) {
  const signed = `${encode(header)}.${typeof payload === 'string' ? payload : encode(payload)}`
  return `${signed}.${createHmac(hash, key).update(signed).digest('base64url')}`
}

const invalid = { failure: 'invalid' }

afterEach(() => vi.useRealTimers())

describe('a static token', () => {
  const staticTokens = [
    { user: 'ann', token: 'first' },
    { user: '', token: 'second' },
  ]
  const auth = authenticator({ staticTokens })

  it('stands for its user in every channel', () => {
    expect(auth.authenticate('first')).toEqual({ identity: { user: 'ann', channels: undefined } })
    expect(auth.authenticate('second')).toEqual({ identity: { user: '', channels: undefined } })
  })

  it.each(['First', 'firsT', 'firß', 'firs', 'first ', 'firstfirst', 'second\0', 'ann', 'ann=first', ' '])(
    'is not %j',
    (token) => expect(auth.authenticate(token)).toEqual(invalid),
  )

  it('is right after a wrong one of the same length', () => {
    auth.authenticate('wrong')
    expect(auth.authenticate('first')).toEqual({ identity: { user: 'ann', channels: undefined } })
  })

  it('may have any letters', () => {
    const token = 'schlüssel-🔑'
    const unusual = authenticator({ staticTokens: [{ user: 'ann', token }] })
    expect(unusual.authenticate(token)).toEqual({ identity: { user: 'ann', channels: undefined } })
    expect(unusual.authenticate('schlüssel-🔒')).toEqual(invalid)
  })

  it('is enough where no secret for JWTs is configured, and no JWT is then', () => {
    const without = authenticator({ staticTokens, jwts: verifier(undefined) })
    expect(without.authenticate('first').identity?.user).toBe('ann')
    expect(without.authenticate(jwt({ sub: 'ann' }))).toEqual(invalid)
  })
})

describe('no token', () => {
  it.each([undefined, ''])('(%j) is missing', (token) =>
    expect(authenticator().authenticate(token)).toEqual({ failure: 'missing' }),
  )

  it.each([undefined, ''])('(%j) is somebody without a name where that is allowed', (token) => {
    const auth = authenticator({ allowAnonymous: true })
    expect(auth.authenticate(token)).toEqual({ identity: { user: '', channels: undefined } })
  })

  it('is different from a wrong one, which is never let in', () => {
    expect(authenticator({ allowAnonymous: true }).authenticate('wrong')).toEqual(invalid)
  })
})

describe('a JWT', () => {
  const auth = authenticator()

  it('of the common library says who somebody is', () => {
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
    expect(auth.authenticate(jwt({ sub: 'ann' }, { alg }, hash)).identity?.user).toBe('ann')
  })

  it('may name nobody, and the channels that are allowed', () => {
    expect(auth.authenticate(jwt({}))).toEqual({ identity: { user: '', channels: undefined } })
    expect(auth.authenticate(jwt({ sub: 'a', channels: ['x', 'y'] }))).toEqual({
      identity: { user: 'a', channels: ['x', 'y'] },
    })
    expect(auth.authenticate(jwt({ channels: [] })).identity?.channels).toEqual([])
  })

  it.each([
    ['without signature', `${encode({ alg: 'none' })}.${encode({ sub: 'eve' })}.`],
    ['without signature, spelled otherwise', `${encode({ alg: 'NONE' })}.${encode({ sub: 'eve' })}.`],
    ['without signature under the right algorithm', `${encode({ alg: 'HS256' })}.${encode({ sub: 'eve' })}.`],
    ['that says none and is signed', jwt({ sub: 'eve' }, { alg: 'none' })],
    ['signed with another secret', jwt({ sub: 'eve' }, undefined, 'sha256', `${SECRET}!`)],
    ['signed with no secret', jwt({ sub: 'eve' }, undefined, 'sha256', '')],
    ['signed with HS512 that says HS256', jwt({ sub: 'eve' }, undefined, 'sha512')],
    ['signed with HS256 that says RS256', jwt({ sub: 'eve' }, { alg: 'RS256' })],
    ['without algorithm', jwt({ sub: 'eve' }, { typ: 'JWT' })],
    ['whose header is null', jwt({ sub: 'eve' }, null)],
  ])('%s is not valid', (_, token) => expect(auth.authenticate(token)).toEqual(invalid))

  it('signed by RSA is not valid, with whatever key', () => {
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    })
    const token = createSigner({ key: privateKey, algorithm: 'RS256' })({ sub: 'eve' })
    expect(auth.authenticate(token)).toEqual(invalid)
  })

  it('that was changed after it was signed is not valid', () => {
    const [header, , signature] = jwt({ sub: 'ann' }).split('.')
    expect(auth.authenticate(`${header}.${encode({ sub: 'eve' })}.${signature}`)).toEqual(invalid)
    expect(auth.authenticate(`${jwt({ sub: 'ann' })}x`)).toEqual(invalid)
    expect(auth.authenticate(`${jwt({ sub: 'ann' })}.x`)).toEqual(invalid)
  })

  it.each([1, null, true, ['ann'], { name: 'ann' }])('for the user %j is not valid', (sub) =>
    expect(auth.authenticate(jwt({ sub }))).toEqual(invalid),
  )

  it.each(['room', 1, null, true, {}, [1], ['room', null], [['room']], { 0: 'room', length: 1 }])(
    'for the channels %j is not valid',
    (channels) => expect(auth.authenticate(jwt({ sub: 'ann', channels }))).toEqual(invalid),
  )

  it.each(['"ann"', '17', 'null', '[]', 'not JSON', ''])('whose payload is %s is not valid', (payload) => {
    const result = auth.authenticate(jwt(Buffer.from(payload).toString('base64url')))
    // A list is an object without claims to the letter; nobody signs one.
    if (payload !== '[]') expect(result).toEqual(invalid)
    expect(result.identity?.user ?? '').toBe('')
  })

  it('cannot give claims through the prototype', () => {
    const payload = Buffer.from('{"__proto__":{"sub":"eve","channels":["x"]}}').toString('base64url')
    const { identity } = auth.authenticate(jwt(payload))
    expect(identity?.user ?? '').toBe('')
    expect(identity?.channels).toBeUndefined()
    expect(Object.getPrototypeOf({})).toBe(Object.prototype)
    expect('sub' in {}).toBe(false)
  })
})

describe('the time of a JWT', () => {
  function at(seconds: number, claims: Readonly<Record<string, unknown>>) {
    vi.useFakeTimers({ now: seconds * 1_000 })
    return authenticator().authenticate(jwt(claims))
  }

  it('ends it at exp', () => {
    expect(at(NOW_SECONDS - 1, { exp: NOW_SECONDS }).identity).toBeDefined()
    expect(at(NOW_SECONDS + 1, { exp: NOW_SECONDS })).toEqual({ failure: 'expired' })
  })

  it('begins it at nbf', () => {
    expect(at(NOW_SECONDS - 1, { nbf: NOW_SECONDS })).toEqual({ failure: 'not_yet_valid' })
    expect(at(NOW_SECONDS + 1, { nbf: NOW_SECONDS }).identity).toBeDefined()
  })

  it.each(['tomorrow', `${NOW_SECONDS + 60}`, null, [NOW_SECONDS + 60], true])(
    'is not valid as exp or nbf %j',
    (time) => {
      expect(at(NOW_SECONDS, { exp: time })).toEqual(invalid)
      expect(at(NOW_SECONDS, { nbf: time })).toEqual(invalid)
    },
  )

  it('is not told to whoever cannot sign', () => {
    vi.useFakeTimers({ now: NOW_SECONDS * 1_000 })
    const expired = jwt({ exp: NOW_SECONDS - 60 }, undefined, 'sha256', 'another')
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
    jwt({ sub: 'eve' }, { alg: '__proto__' }),
    jwt({ sub: 'eve' }, { alg: 'toString' }),
    jwt({ sub: 'eve' }, { alg: ['HS256'] }),
  ])('is not valid, and never throws: %#', (token) => expect(auth.authenticate(token)).toEqual(invalid))
})
