import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SubscriptionAuthentication } from '../../src/auth/authenticator.js'
import { JwtVerifier, type JwtVerifierOptions } from '../../src/auth/jwt-verifier.js'
import { TokenAuthenticator } from '../../src/auth/token-authenticator.js'

const SECRET = 'a secret that is long enough for HMAC with SHA-256'
const NOW_SECONDS = 1_800_000_000
const INVALID = { failure: 'invalid' }

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' })
const ed25519 = generateKeyPairSync('ed25519')

const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()
const PUBLIC_KEYS = [rsa, p256, p384, p521, ed25519].map(({ publicKey }) => pem(publicKey)).join('')

function verifier(options: Partial<JwtVerifierOptions> = {}): JwtVerifier {
  const none = { hmacSecret: undefined, publicKeys: undefined, audience: undefined, issuer: undefined }
  return new JwtVerifier({ ...none, ...options })
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const unsigned = (claims: unknown, header: unknown) => `${encode(header)}.${encode(claims)}`

/** Signs whatever is given, as an attacker would: nothing is checked. */
function hmac(
  claims: unknown,
  header: object = { alg: 'HS256' },
  key: string | Buffer = SECRET,
  hash = 'sha256',
) {
  const input = unsigned(claims, header)
  return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
}

function signed(claims: unknown, header: object, key: KeyObject, hash: string | undefined) {
  const input = unsigned(claims, header)
  const signature = sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW_SECONDS * 1_000 })
})
afterEach(() => vi.useRealTimers())

const SIGNATURES: [string, KeyObject, string | undefined][] = [
  ['RS256', rsa.privateKey, 'sha256'],
  ['RS384', rsa.privateKey, 'sha384'],
  ['RS512', rsa.privateKey, 'sha512'],
  ['ES256', p256.privateKey, 'sha256'],
  ['ES384', p384.privateKey, 'sha384'],
  ['ES512', p521.privateKey, 'sha512'],
  ['EdDSA', ed25519.privateKey, undefined],
]

describe('a verifier with a secret and public keys', () => {
  const jwts = verifier({ hmacSecret: SECRET, publicKeys: PUBLIC_KEYS })

  it.each(SIGNATURES)('takes %s', (alg, key, hash) => {
    expect(jwts.verify(signed({ sub: 'ann' }, { alg }, key, hash))).toEqual({ claims: { sub: 'ann' } })
  })

  it.each([
    ['HS256', 'sha256'],
    ['HS384', 'sha384'],
    ['HS512', 'sha512'],
  ])('takes %s', (alg, hash) => {
    expect(jwts.verify(hmac({ sub: 'ann' }, { alg }, SECRET, hash))).toEqual({ claims: { sub: 'ann' } })
  })

  it('takes none of them that was changed, or that says another algorithm', () => {
    for (const [alg, key, hash] of SIGNATURES) {
      const [header, , signature] = signed({ sub: 'ann' }, { alg }, key, hash).split('.')
      expect(jwts.verify(`${header}.${encode({ sub: 'eve' })}.${signature}`)).toEqual(INVALID)
      for (const [other] of SIGNATURES.filter(([name]) => name !== alg)) {
        expect(jwts.verify(signed({ sub: 'eve' }, { alg: other }, key, hash))).toEqual(INVALID)
      }
    }
  })

  it.each(['PS256', 'PS512', 'ES256K', 'EdDSA ', 'rs256', 'Ed25519', '', 'none', 'None', 'nOnE'])(
    'takes no algorithm "%s"',
    (alg) => {
      expect(jwts.verify(`${unsigned({ sub: 'eve' }, { alg })}.`)).toEqual(INVALID)
      expect(jwts.verify(hmac({ sub: 'eve' }, { alg }))).toEqual(INVALID)
      expect(jwts.verify(signed({ sub: 'eve' }, { alg }, rsa.privateKey, 'sha256'))).toEqual(INVALID)
    },
  )

  it('takes a token of any of several keys of a kind, and of no other', () => {
    const both = verifier({ publicKeys: `${pem(rsa.publicKey)}${pem(otherRsa.publicKey)}` })
    for (const { privateKey } of [rsa, otherRsa]) {
      expect(both.verify(signed({ sub: 'ann' }, { alg: 'RS256' }, privateKey, 'sha256')).claims).toBeDefined()
    }
    const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    expect(both.verify(signed({ sub: 'eve' }, { alg: 'RS256' }, foreign, 'sha256'))).toEqual(INVALID)
    const expired = signed({ exp: NOW_SECONDS - 1 }, { alg: 'RS256' }, rsa.privateKey, 'sha256')
    expect(both.verify(expired)).toEqual({ failure: 'expired' })
  })
})

describe('a public key', () => {
  // RFC 8725 §2.1: whoever knows it must not be able to sign with it.
  const spkis = (key: KeyObject) => [
    pem(key),
    pem(key).trim(),
    pem(key).replaceAll('\n', '\\n'),
    key.export({ type: 'spki', format: 'der' }),
    JSON.stringify(key.export({ format: 'jwk' })),
  ]

  it.each([
    ['alone', { publicKeys: PUBLIC_KEYS }],
    ['beside a secret', { publicKeys: PUBLIC_KEYS, hmacSecret: SECRET }],
  ])('%s is no secret', (_how, options) => {
    const jwts = verifier(options)
    for (const { publicKey } of [rsa, p256, ed25519]) {
      for (const key of [...spkis(publicKey), PUBLIC_KEYS, '']) {
        for (const hash of ['256', '384', '512']) {
          expect(jwts.verify(hmac({ sub: 'eve' }, { alg: `HS${hash}` }, key, `sha${hash}`))).toEqual(INVALID)
        }
      }
    }
  })

  it('of one kind verifies nothing of another', () => {
    const jwts = verifier({ publicKeys: pem(p256.publicKey) })
    for (const [alg, key, hash] of SIGNATURES) {
      const { claims } = jwts.verify(signed({}, { alg }, key, hash))
      expect(claims !== undefined).toBe(alg === 'ES256')
    }
  })

  it('that cannot be used is refused in one line', () => {
    const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
    const broken = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'
    for (const publicKeys of [pem(curve), broken, pem(generateKeyPairSync('ed448').publicKey)]) {
      expect(() => verifier({ publicKeys })).toThrow(/^a public key .+$/)
    }
  })
})

describe('what a token says of keys', () => {
  const headers = [
    { jwk: otherRsa.publicKey.export({ format: 'jwk' }) },
    { jku: 'http://127.0.0.1:1/keys' },
    { x5u: 'file:///etc/passwd' },
    { x5c: ['AAAA'] },
    { kid: '../../../../dev/null' },
    { kid: "x' UNION SELECT 'secret" },
    { kid: '__proto__' },
    { kid: 'x'.repeat(4_000) },
    { kid: { toString: 'x' } },
    { kid: null },
    { typ: 'x' },
  ]

  it.each(headers)('does not make another key count: %#', (header) => {
    const jwts = verifier({ publicKeys: PUBLIC_KEYS, hmacSecret: SECRET })
    const foreign = signed({ sub: 'eve' }, { alg: 'RS256', ...header }, otherRsa.privateKey, 'sha256')
    expect(jwts.verify(foreign)).toEqual(INVALID)
    for (const key of ['', '\0', 'secret', 'null']) {
      expect(jwts.verify(hmac({ sub: 'eve' }, { alg: 'HS256', ...header }, key))).toEqual(INVALID)
    }
    // With a key that is configured, all of it is ignored.
    expect(jwts.verify(hmac({ sub: 'ann' }, { alg: 'HS256', ...header })).claims).toEqual({ sub: 'ann' })
  })

  it('in ten kilobytes is not read', () => {
    expect(
      verifier({ hmacSecret: SECRET }).verify(hmac({}, { alg: 'HS256', kid: 'x'.repeat(10_240) })),
    ).toEqual(INVALID)
  })

  it('to be critical, and is not known here, makes it not valid', () => {
    const jwts = verifier({ hmacSecret: SECRET })
    for (const crit of [['exp'], ['b64'], [], 'b64', [17]]) {
      expect(jwts.verify(hmac({}, { alg: 'HS256', crit, b64: false }))).toEqual(INVALID)
    }
  })
})

describe('the length of a token', () => {
  /** A token that is valid, of just so many bytes. */
  function ofLength(bytes: number): string {
    const around = hmac({ sub: 'ann', x: '' }).length
    const token = hmac({ sub: 'ann', x: 'x'.repeat(Math.ceil(((bytes - around) * 3) / 4)) })
    expect(token).toHaveLength(bytes)
    return token
  }

  it('may be 8 KiB, and no more', () => {
    const jwts = verifier({ hmacSecret: SECRET })
    expect(jwts.verify(ofLength(8 * 1024)).claims?.['sub']).toBe('ann')
    expect(jwts.verify(ofLength(8 * 1024 + 1))).toEqual(INVALID)
    expect(jwts.verify(ofLength(64 * 1024))).toEqual(INVALID)
  })
})

describe('the claims of a token', () => {
  const at = (claims: unknown, options: Partial<JwtVerifierOptions> = {}) =>
    verifier({ hmacSecret: SECRET, ...options }).verify(hmac(claims))

  it.each([
    [{ exp: NOW_SECONDS + 1 }, undefined],
    [{ exp: NOW_SECONDS - 1 }, 'expired'],
    [{ exp: 0 }, 'expired'],
    [{ exp: -1 }, 'expired'],
    [{ exp: NOW_SECONDS + 0.5 }, undefined],
    [{ nbf: NOW_SECONDS - 1 }, undefined],
    [{ nbf: NOW_SECONDS }, undefined],
    [{ nbf: NOW_SECONDS + 1 }, 'not_yet_valid'],
    [{ nbf: 1e300 }, 'invalid'],
    [{ exp: NOW_SECONDS - 1, nbf: NOW_SECONDS - 2 }, 'expired'],
    [{ exp: `${NOW_SECONDS + 60}` }, 'invalid'],
    [{ exp: [NOW_SECONDS + 60] }, 'invalid'],
    [{ exp: {} }, 'invalid'],
    [{ iat: NOW_SECONDS + 60 }, undefined],
  ])('%j make it: %s', (claims, failure) => expect(at(claims).failure).toBe(failure))

  it.each([
    [{ aud: 'chat' }, true],
    [{ aud: ['news', 'chat'] }, true],
    [{ aud: 'news' }, false],
    [{ aud: ['news'] }, false],
    [{ aud: [] }, false],
    [{ aud: 'chat2' }, false],
    [{ aud: 'Chat' }, false],
    [{ aud: '' }, false],
    [{ aud: null }, false],
    [{ aud: 17 }, false],
    [{ aud: ['chat', 17] }, false],
    [{}, false],
  ])('%j are for the audience that is expected: %s', (claims, isFor) => {
    expect(at(claims, { audience: 'chat' }).claims !== undefined).toBe(isFor)
  })

  it.each([
    [{ iss: 'https://id.example' }, true],
    [{ iss: 'https://id.example/' }, false],
    [{ iss: 'https://id' }, false],
    [{ iss: ['https://id.example'] }, false],
    [{ iss: '' }, false],
    [{}, false],
  ])('%j are of the issuer that is expected: %s', (claims, isOf) => {
    expect(at(claims, { issuer: 'https://id.example' }).claims !== undefined).toBe(isOf)
  })

  it('may name any audience and issuer where none is expected', () => {
    expect(at({ aud: 'x', iss: 'y' }).claims).toBeDefined()
  })

  it('are only those of their own', () => {
    const { claims } = verifier({ hmacSecret: SECRET }).verify(
      hmac(JSON.parse('{"__proto__":{"sub":"eve"},"constructor":1}')),
    )
    expect(claims?.['sub']).toBeUndefined()
    expect('sub' in {}).toBe(false)
  })
})

const authenticator = (options: Partial<JwtVerifierOptions> = {}) =>
  new TokenAuthenticator({
    staticTokens: [{ user: 'ann', token: 'static' }],
    jwts: verifier({ hmacSecret: SECRET, ...options }),
    allowAnonymous: true,
  })

describe('the token of a connection', () => {
  it('tells all that is known of it', () => {
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
  ])('with %j lets it expire at %s', (claims, seconds) => {
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

  it('takes __proto__ in subs for a channel, and nothing else', () => {
    const claims: unknown = JSON.parse('{"sub":"ann","subs":{"__proto__":{"info":1},"constructor":{}}}')
    const { identity } = authenticator().authenticate(hmac(claims))
    expect(Object.entries(identity?.subs ?? {})).toEqual([
      ['__proto__', { info: '1', data: undefined }],
      ['constructor', { info: undefined, data: undefined }],
    ])
    expect(Object.getPrototypeOf(identity?.subs)).toBe(Object.prototype)
    expect('info' in {}).toBe(false)
  })

  it('may be nested as deep as its length allows, which throws nothing', () => {
    const input = `${encode({ alg: 'HS256' })}.${Buffer.from(`{"info":${'['.repeat(2_900)}${']'.repeat(2_900)}}`).toString('base64url')}`
    const token = `${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}`
    expect(token.length).toBeLessThanOrEqual(8 * 1024)
    expect(authenticator().authenticate(token).identity?.info).toHaveLength(5_800)
  })
})

describe('the token of a subscription', () => {
  const authenticate = (claims: object, user = 'ann', channel = '$chat:1'): SubscriptionAuthentication =>
    authenticator().authenticateSubscription(hmac(claims), user, channel)

  it('is for one user in one channel', () => {
    const claims = { sub: 'ann', channel: '$chat:1', info: { role: 'mod' }, exp: NOW_SECONDS + 60 }
    expect(authenticate(claims)).toEqual({
      grant: { info: '{"role":"mod"}', expiresAtMs: (NOW_SECONDS + 60) * 1_000 },
    })
    expect(authenticate(claims, 'bob')).toEqual(INVALID)
    expect(authenticate(claims, '')).toEqual(INVALID)
    expect(authenticate(claims, 'ann', '$chat:2')).toEqual(INVALID)
    expect(authenticate(claims, 'ann', 'chat:1')).toEqual(INVALID)
  })

  it('without a user is for somebody without a name only', () => {
    expect(authenticate({ channel: '$chat:1' }, '').grant).toBeDefined()
    expect(authenticate({ channel: '$chat:1' }, 'ann')).toEqual(INVALID)
  })

  it('is not that of a connection, nor the other way round', () => {
    expect(authenticate({ sub: 'ann' })).toEqual(INVALID)
    expect(authenticate({ sub: 'ann', channels: ['$chat:1'], subs: { '$chat:1': {} } })).toEqual(INVALID)
    expect(authenticator().authenticate(hmac({ sub: 'ann', channel: '$chat:1' }))).toEqual(INVALID)
  })

  it('is no static token, and not missing', () => {
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

  it('must be signed, for the audience and by the issuer that are expected', () => {
    const claims = { sub: 'ann', channel: '$chat:1' }
    const auth = authenticator({ audience: 'chat', issuer: 'id' })
    const verify = (token: string) => auth.authenticateSubscription(token, 'ann', '$chat:1')
    expect(verify(hmac(claims))).toEqual(INVALID)
    expect(verify(hmac({ ...claims, aud: 'chat' }))).toEqual(INVALID)
    expect(verify(hmac({ ...claims, aud: 'chat', iss: 'id' })).grant).toBeDefined()
    expect(verify(hmac({ ...claims, aud: 'chat', iss: 'id' }, { alg: 'HS256' }, 'another'))).toEqual(INVALID)
  })
})
