import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { JwtVerifierOptions } from '../../src/auth/jwt-verifier.js'
import { encode, hmac, SECRET, unsigned } from '../support/forged-jwt.js'
import { jwtVerifier } from '../support/jwt-verifier.js'

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
  const jwts = jwtVerifier({ hmacSecret: SECRET, publicKeys: PUBLIC_KEYS })

  it.each(SIGNATURES)('accepts %s', (alg, key, hash) => {
    expect(jwts.verify(signed({ sub: 'ann' }, { alg }, key, hash))).toEqual({ claims: { sub: 'ann' } })
  })

  it.each([
    ['HS256', 'sha256'],
    ['HS384', 'sha384'],
    ['HS512', 'sha512'],
  ])('accepts %s', (alg, hash) => {
    expect(jwts.verify(hmac({ sub: 'ann' }, { alg }, SECRET, hash))).toEqual({ claims: { sub: 'ann' } })
  })

  it('refuses a token that was changed, or that names another algorithm', () => {
    for (const [alg, key, hash] of SIGNATURES) {
      const [header, , signature] = signed({ sub: 'ann' }, { alg }, key, hash).split('.')
      expect(jwts.verify(`${header}.${encode({ sub: 'eve' })}.${signature}`)).toEqual(INVALID)
      for (const [other] of SIGNATURES.filter(([name]) => name !== alg)) {
        expect(jwts.verify(signed({ sub: 'eve' }, { alg: other }, key, hash))).toEqual(INVALID)
      }
    }
  })

  it.each(['PS256', 'PS512', 'ES256K', 'EdDSA ', 'rs256', 'Ed25519', '', 'none', 'None', 'nOnE'])(
    'refuses the algorithm "%s"',
    (alg) => {
      expect(jwts.verify(`${unsigned({ sub: 'eve' }, { alg })}.`)).toEqual(INVALID)
      expect(jwts.verify(hmac({ sub: 'eve' }, { alg }))).toEqual(INVALID)
      expect(jwts.verify(signed({ sub: 'eve' }, { alg }, rsa.privateKey, 'sha256'))).toEqual(INVALID)
    },
  )

  it('accepts a token of any of several keys of a kind, and of no other key', () => {
    const both = jwtVerifier({ publicKeys: `${pem(rsa.publicKey)}${pem(otherRsa.publicKey)}` })
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
  // RFC 8725 §2.1: a client that knows a public key must not be able to sign with it.
  const encodings = (key: KeyObject) => [
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
    const jwts = jwtVerifier(options)
    for (const { publicKey } of [rsa, p256, ed25519]) {
      for (const key of [...encodings(publicKey), PUBLIC_KEYS, '']) {
        for (const hash of ['256', '384', '512']) {
          expect(jwts.verify(hmac({ sub: 'eve' }, { alg: `HS${hash}` }, key, `sha${hash}`))).toEqual(INVALID)
        }
      }
    }
  })

  it('of one kind verifies nothing of another', () => {
    const jwts = jwtVerifier({ publicKeys: pem(p256.publicKey) })
    for (const [alg, key, hash] of SIGNATURES) {
      const { claims } = jwts.verify(signed({}, { alg }, key, hash))
      expect(claims !== undefined).toBe(alg === 'ES256')
    }
  })

  it('that cannot be used is refused with a message of one line', () => {
    const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
    const broken = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'
    for (const publicKeys of [pem(curve), broken, pem(generateKeyPairSync('ed448').publicKey)]) {
      expect(() => jwtVerifier({ publicKeys })).toThrow(/^a public key .+$/)
    }
  })
})

it('an empty secret is refused', () => {
  expect(() => jwtVerifier({ hmacSecret: '' })).toThrow('the secret is empty')
})

describe('a signature', () => {
  it('of a wrong length is invalid, and throws nothing', () => {
    for (const [alg, key, hash] of SIGNATURES) {
      const jwts = jwtVerifier({ publicKeys: PUBLIC_KEYS })
      const [header, payload, signature = ''] = signed({}, { alg }, key, hash).split('.')
      for (const cut of [1, 2, 43, 64, 86, 96, 128, 342, 343]) {
        for (const other of [signature.slice(0, -cut), `${signature}${'A'.repeat(cut)}`, '_'.repeat(cut)]) {
          expect(jwts.verify(`${header}.${payload}.${other}`)).toEqual(INVALID)
        }
      }
    }
  })

  it.each(['=', '==', ' ', '\n', '.', '.AAAA', '\u0141', '+', '%00'])(
    'followed by "%s" is invalid',
    (more) => {
      const jwts = jwtVerifier({ hmacSecret: SECRET })
      const [header, payload, signature] = hmac({ sub: 'ann' }).split('.')
      expect(jwts.verify(`${header}.${payload}.${signature}`).claims).toBeDefined()
      expect(jwts.verify(`${header}.${payload}.${signature}${more}`)).toEqual(INVALID)
      expect(jwts.verify(`${header}.${payload}${more}.${signature}`)).toEqual(INVALID)
      expect(jwts.verify(`${header}${more}.${payload}.${signature}`)).toEqual(INVALID)
    },
  )

  it('of a payload that is no JSON object is invalid', () => {
    const jwts = jwtVerifier({ hmacSecret: SECRET })
    for (const claims of ['text', 17, null, [], true]) expect(jwts.verify(hmac(claims))).toEqual(INVALID)
  })
})

describe('a header that names a key', () => {
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

  it.each(headers)('does not make another key valid: %#', (header) => {
    const jwts = jwtVerifier({ publicKeys: PUBLIC_KEYS, hmacSecret: SECRET })
    const foreign = signed({ sub: 'eve' }, { alg: 'RS256', ...header }, otherRsa.privateKey, 'sha256')
    expect(jwts.verify(foreign)).toEqual(INVALID)
    for (const key of ['', '\0', 'secret', 'null']) {
      expect(jwts.verify(hmac({ sub: 'eve' }, { alg: 'HS256', ...header }, key))).toEqual(INVALID)
    }
    // With a configured key, the header is ignored.
    expect(jwts.verify(hmac({ sub: 'ann' }, { alg: 'HS256', ...header })).claims).toEqual({ sub: 'ann' })
  })

  it('of ten kilobytes is not read', () => {
    expect(
      jwtVerifier({ hmacSecret: SECRET }).verify(hmac({}, { alg: 'HS256', kid: 'x'.repeat(10_240) })),
    ).toEqual(INVALID)
  })

  it('with critical fields makes the token invalid', () => {
    const jwts = jwtVerifier({ hmacSecret: SECRET })
    for (const crit of [['exp'], ['b64'], [], 'b64', [17]]) {
      expect(jwts.verify(hmac({}, { alg: 'HS256', crit, b64: false }))).toEqual(INVALID)
    }
  })
})

describe('the length of a token', () => {
  /** A valid token of exactly `bytes` bytes. */
  function ofLength(bytes: number): string {
    const around = hmac({ sub: 'ann', x: '' }).length
    const token = hmac({ sub: 'ann', x: 'x'.repeat(Math.ceil(((bytes - around) * 3) / 4)) })
    expect(token).toHaveLength(bytes)
    return token
  }

  it('may be 8 KiB, and no more', () => {
    const jwts = jwtVerifier({ hmacSecret: SECRET })
    expect(jwts.verify(ofLength(8 * 1024)).claims?.['sub']).toBe('ann')
    expect(jwts.verify(ofLength(8 * 1024 + 1))).toEqual(INVALID)
    expect(jwts.verify(ofLength(64 * 1024))).toEqual(INVALID)
  })
})

describe('the claims of a token', () => {
  const at = (claims: unknown, options: Partial<JwtVerifierOptions> = {}) =>
    jwtVerifier({ hmacSecret: SECRET, ...options }).verify(hmac(claims))

  it.each([
    [{ exp: NOW_SECONDS + 1 }, undefined],
    [{ exp: NOW_SECONDS - 1 }, 'expired'],
    [{ exp: 0 }, 'expired'],
    [{ exp: -1 }, 'expired'],
    [{ exp: NOW_SECONDS + 0.5 }, undefined],
    [{ nbf: NOW_SECONDS - 1 }, undefined],
    [{ nbf: NOW_SECONDS }, undefined],
    [{ nbf: NOW_SECONDS + 1 }, 'not_yet_valid'],
    [{ nbf: 1e300 }, 'not_yet_valid'],
    [{ exp: NOW_SECONDS }, 'expired'],
    [{ exp: null }, 'invalid'],
    [{ nbf: true }, 'invalid'],
    [{ exp: NOW_SECONDS - 1, nbf: NOW_SECONDS - 2 }, 'expired'],
    [{ exp: `${NOW_SECONDS + 60}` }, 'invalid'],
    [{ exp: [NOW_SECONDS + 60] }, 'invalid'],
    [{ exp: {} }, 'invalid'],
    [{ iat: NOW_SECONDS + 60 }, undefined],
  ])('%j result in the failure %s', (claims, failure) => expect(at(claims).failure).toBe(failure))

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
  ])('%j match the expected audience: %s', (claims, isExpected) => {
    expect(at(claims, { audience: 'chat' }).claims !== undefined).toBe(isExpected)
  })

  it.each([
    [{ iss: 'https://id.example' }, true],
    [{ iss: 'https://id.example/' }, false],
    [{ iss: 'https://id' }, false],
    [{ iss: ['https://id.example'] }, false],
    [{ iss: '' }, false],
    [{}, false],
  ])('%j match the expected issuer: %s', (claims, isExpected) => {
    expect(at(claims, { issuer: 'https://id.example' }).claims !== undefined).toBe(isExpected)
  })

  it('may name any audience and issuer where none is expected', () => {
    expect(at({ aud: 'x', iss: 'y' }).claims).toBeDefined()
  })

  it('are only the own fields of the payload', () => {
    const { claims } = jwtVerifier({ hmacSecret: SECRET }).verify(
      hmac(JSON.parse('{"__proto__":{"sub":"eve"},"constructor":1}')),
    )
    expect(claims?.['sub']).toBeUndefined()
    expect('sub' in {}).toBe(false)
  })
})
