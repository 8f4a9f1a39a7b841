import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { JwtVerifier } from '../../src/auth/jwt-verifier.js'
import { RemoteKeys } from '../../src/auth/remote-keys.js'
import { createLogger } from '../../src/log.js'
import { EventLog } from '../support/event-log.js'
import { hmac } from '../support/forged-jwt.js'
import { Issuer, IssuerKey } from '../support/issuer.js'
import { jwtVerifier } from '../support/jwt-verifier.js'

const CLAIMS = { sub: 'ann' }
const GOOD = { claims: CLAIMS }
const INVALID = { failure: 'invalid' }
const EXPIRED = { failure: 'expired' }
const UNKNOWN = { failure: 'key_unknown' }
const MIN_INTERVAL_MS = 30_000
const REFRESH_MS = 300_000

describe('the keys that an issuer publishes', () => {
  let issuer: Issuer
  let keys: RemoteKeys
  let jwts: JwtVerifier
  let fetches: EventLog<number | undefined>
  const one = new IssuerKey('one')
  const two = new IssuerKey('two')

  beforeEach(async () => {
    issuer = new Issuer()
    await issuer.start()
    fetches = new EventLog()
    const log = createLogger({ level: 'silent', format: 'json' })
    keys = new RemoteKeys(issuer.url, log, fetches.add)
    jwts = jwtVerifier({ remoteKeys: keys })
  })
  afterEach(async () => {
    vi.useRealTimers()
    keys.stop()
    await issuer.stop()
  })

  it('verify tokens that name them, and tokens that name no key', async () => {
    issuer.publish(one, two)
    keys.start()
    await keys.loaded
    expect(await fetches.first(1)).toEqual([2])
    for (const key of [one, two]) {
      expect(jwts.verify(key.token(CLAIMS))).toEqual(GOOD)
      expect(jwts.verify(key.token(CLAIMS, { kid: undefined }))).toEqual(GOOD)
    }
    expect(jwts.verify(one.token(CLAIMS, { kid: 'two' }))).toEqual(INVALID)
  })

  it('leave a token undecided until they are loaded, unless none of them can have signed it', async () => {
    issuer.publish(one)
    expect(jwts.verify(one.token(CLAIMS))).toEqual(UNKNOWN)
    for (const token of [hmac(CLAIMS), hmac(CLAIMS, { alg: 'none' }), 'a.b.c', ''])
      expect(jwts.verify(token)).toEqual(INVALID)
    keys.start()
    await keys.loaded
    expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
  })

  describe('over time', () => {
    const pass = (durationMs: number) => vi.advanceTimersByTimeAsync(durationMs)

    beforeEach(async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
      issuer.publish(one)
      keys.start()
      await pass(1)
      await keys.loaded
    })

    it('are fetched again when a token names an unknown key, and leave it undecided until then', async () => {
      issuer.publish(two)
      for (let attempt = 0; attempt < 3; attempt++) {
        expect(jwts.verify(two.token(CLAIMS))).toEqual(UNKNOWN)
        await pass(MIN_INTERVAL_MS / 4)
      }
      expect(issuer.requests).toBe(1)
      await pass(MIN_INTERVAL_MS / 4)
      expect(await fetches.first(2)).toEqual([1, 1])
      expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
      // A withdrawn key is not valid any more, and looks like one that is not published yet.
      expect(jwts.verify(one.token(CLAIMS))).toEqual(UNKNOWN)
      expect(jwts.verify(one.token(CLAIMS, { kid: undefined }))).toEqual(INVALID)
      await pass(MIN_INTERVAL_MS)
      await fetches.first(3)
      expect(jwts.verify(one.token(CLAIMS))).toEqual(EXPIRED)
      await pass(MIN_INTERVAL_MS)
      await fetches.first(4)
      expect(jwts.verify(one.token(CLAIMS))).toEqual(EXPIRED)
      expect(jwts.verify(new IssuerKey('three').token(CLAIMS))).toEqual(UNKNOWN)
    })

    it('do not leave an expired token undecided', () => {
      expect(jwts.verify(two.token({ ...CLAIMS, exp: 1 }))).toEqual(EXPIRED)
      expect(jwts.verify(two.token({ ...CLAIMS, exp: 'soon' }))).toEqual(UNKNOWN)
    })

    it('are fetched at once for an unknown key when the last fetch is long ago', async () => {
      await pass(MIN_INTERVAL_MS)
      issuer.publish(one, two)
      expect(jwts.verify(two.token(CLAIMS))).toEqual(UNKNOWN)
      await pass(1)
      expect(await fetches.first(2)).toEqual([1, 2])
      expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
    })

    it('are fetched again for another key with the id of a known one', async () => {
      const other = new IssuerKey('one')
      issuer.publish(other)
      expect(jwts.verify(other.token(CLAIMS))).toEqual(INVALID)
      await pass(MIN_INTERVAL_MS)
      await fetches.first(2)
      expect(jwts.verify(other.token(CLAIMS))).toEqual(GOOD)
    })

    it('are fetched again periodically', async () => {
      issuer.publish(two)
      await pass(REFRESH_MS)
      await fetches.first(2)
      expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
    })

    it('stay valid while the issuer fails', async () => {
      issuer.answer('out of order', 500)
      await pass(REFRESH_MS)
      expect(await fetches.first(2)).toEqual([1, undefined])
      expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
      expect(jwts.verify(two.token(CLAIMS))).toEqual(UNKNOWN)
    })
  })

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' })
  const weakRsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
  it.each<[string, object]>([
    ['a shared secret', { kty: 'oct', k: 'c2VjcmV0', kid: 'one' }],
    ['one for encryption', { ...one.jwk, use: 'enc' }],
    ['one for signing only', { ...one.jwk, key_ops: ['sign'] }],
    ['one of another algorithm', { ...one.jwk, alg: 'RS256' }],
    ['one of an unknown kind', { ...rsa, kty: 'RSB' }],
    ['one with the public exponent 1, with which every client could sign', { ...rsa, e: 'AQ' }],
    ['one of 1,024 bits', weakRsa],
    ['an invalid one', { kty: 'EC', crv: 'P-256', x: '!', y: 5 }],
    ['a list in place of one', [] as object],
  ])('do not include %s', async (_what, jwk) => {
    issuer.publish(jwk, two)
    keys.start()
    await keys.loaded
    expect(await fetches.first(1)).toEqual([1])
    expect(jwts.verify(one.token(CLAIMS, { kid: undefined }))).toEqual(INVALID)
    expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
  })

  it.each<[string, (issuer: Issuer) => void]>([
    ['what is not JSON', (one) => one.answer('<html>')],
    ['null', (one) => one.answer('null')],
    ['no list of keys', (one) => one.answer('{"keys":{}}')],
    ['no key that can be used', (one) => one.publish({ kty: 'oct', k: 'c2VjcmV0' })],
    ['an error', (one) => one.answer('{"keys":[]}', 503)],
    ['more than the size limit', (one) => one.answer(`{"keys":[]${' '.repeat(2 ** 20)}}`)],
  ])('are fetched again after %s', async (_what, misbehave) => {
    misbehave(issuer)
    keys.start()
    expect(await fetches.first(1)).toEqual([undefined])
    issuer.publish(one)
    await keys.loaded
    expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
  })

  it('without ids are tried for every token, whatever id it names', async () => {
    issuer.publish({ ...one.jwk, kid: undefined })
    keys.start()
    await keys.loaded
    expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
    expect(jwts.verify(two.token(CLAIMS))).toEqual(INVALID)
  })

  it('of which some have ids leave a token with an unknown id undecided', async () => {
    issuer.publish(one, { ...two.jwk, kid: undefined })
    keys.start()
    await keys.loaded
    expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
    expect(jwts.verify(new IssuerKey('three').token(CLAIMS))).toEqual(UNKNOWN)
  })

  it('are not fetched from the target of a redirect', async () => {
    issuer.handle = ({ url }, response) => {
      if (url === '/other') response.end(JSON.stringify({ keys: [one.jwk] }))
      else response.writeHead(302, { Location: '/other' }).end()
    }
    keys.start()
    expect(await fetches.first(1)).toEqual([undefined])
  })
})
