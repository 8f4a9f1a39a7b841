import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { JwtVerifier } from '../../src/auth/jwt-verifier.js'
import { RemoteKeys } from '../../src/auth/remote-keys.js'
import { createLogger } from '../../src/log.js'
import { hmac } from '../support/forged-jwt.js'
import { Issuer, IssuerKey } from '../support/issuer.js'
import { LogOf } from '../support/log-of.js'

const CLAIMS = { sub: 'ann' }
const GOOD = { claims: CLAIMS }
const INVALID = { failure: 'invalid' }
const EXPIRED = { failure: 'expired' }
const UNKNOWN = { failure: 'key_unknown' }
const LEAST_INTERVAL_MS = 30_000
const REFRESH_MS = 300_000

describe('the keys that an issuer publishes', () => {
  let issuer: Issuer
  let keys: RemoteKeys
  let jwts: JwtVerifier
  let fetches: LogOf<number | undefined>
  const one = new IssuerKey('one')
  const two = new IssuerKey('two')

  beforeEach(async () => {
    issuer = new Issuer()
    await issuer.start()
    fetches = new LogOf()
    const log = createLogger({ level: 'silent', format: 'json' })
    keys = new RemoteKeys(issuer.url, log, fetches.add)
    jwts = new JwtVerifier({
      hmacSecret: undefined,
      publicKeys: undefined,
      remoteKeys: keys,
      audience: undefined,
      issuer: undefined,
    })
  })
  afterEach(async () => {
    vi.useRealTimers()
    keys.stop()
    await issuer.stop()
  })

  it('verify tokens that name them, and tokens that name none', async () => {
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

  it('leave it open whether a token is good until they are there, unless it can’t be one of theirs', async () => {
    issuer.publish(one)
    expect(jwts.verify(one.token(CLAIMS))).toEqual(UNKNOWN)
    for (const token of [hmac(CLAIMS), hmac(CLAIMS, { alg: 'none' }), 'a.b.c', ''])
      expect(jwts.verify(token)).toEqual(INVALID)
    keys.start()
    await keys.loaded
    expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
  })

  describe('in the course of time', () => {
    const pass = (durationMs: number) => vi.advanceTimersByTimeAsync(durationMs)

    beforeEach(async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
      issuer.publish(one)
      keys.start()
      await pass(1)
      await keys.loaded
    })

    it('are fetched again when a token names another one, which is not called wrong until then', async () => {
      issuer.publish(two)
      for (let attempt = 0; attempt < 3; attempt++) {
        expect(jwts.verify(two.token(CLAIMS))).toEqual(UNKNOWN)
        await pass(LEAST_INTERVAL_MS / 4)
      }
      expect(issuer.requests).toBe(1)
      await pass(LEAST_INTERVAL_MS / 4)
      expect(await fetches.first(2)).toEqual([1, 1])
      expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
      // What is not published any more is good no longer, and can't be told yet from what will be.
      expect(jwts.verify(one.token(CLAIMS))).toEqual(UNKNOWN)
      expect(jwts.verify(one.token(CLAIMS, { kid: undefined }))).toEqual(INVALID)
      await pass(LEAST_INTERVAL_MS)
      await fetches.first(3)
      expect(jwts.verify(one.token(CLAIMS))).toEqual(EXPIRED)
      await pass(LEAST_INTERVAL_MS)
      await fetches.first(4)
      expect(jwts.verify(one.token(CLAIMS))).toEqual(EXPIRED)
      expect(jwts.verify(new IssuerKey('three').token(CLAIMS))).toEqual(UNKNOWN)
    })

    it('are not waited for by a token whose time is over', () => {
      expect(jwts.verify(two.token({ ...CLAIMS, exp: 1 }))).toEqual(EXPIRED)
      expect(jwts.verify(two.token({ ...CLAIMS, exp: 'soon' }))).toEqual(UNKNOWN)
    })

    it('are fetched at once for it when the last time is long ago', async () => {
      await pass(LEAST_INTERVAL_MS)
      issuer.publish(one, two)
      expect(jwts.verify(two.token(CLAIMS))).toEqual(UNKNOWN)
      await pass(1)
      expect(await fetches.first(2)).toEqual([1, 2])
      expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
    })

    it('are fetched again for a key that comes under the name of another', async () => {
      const other = new IssuerKey('one')
      issuer.publish(other)
      expect(jwts.verify(other.token(CLAIMS))).toEqual(INVALID)
      await pass(LEAST_INTERVAL_MS)
      await fetches.first(2)
      expect(jwts.verify(other.token(CLAIMS))).toEqual(GOOD)
    })

    it('are fetched again by and by', async () => {
      issuer.publish(two)
      await pass(REFRESH_MS)
      await fetches.first(2)
      expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
    })

    it('stay good while the issuer can’t be reached', async () => {
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
    ['one of a kind that nothing is for', { ...rsa, kty: 'RSB' }],
    ['one that anybody can sign with', { ...rsa, e: 'AQ' }],
    ['one that can be broken', weakRsa],
    ['one that is none', { kty: 'EC', crv: 'P-256', x: '!', y: 5 }],
    ['nothing', [] as object],
  ])('are without %s', async (_what, jwk) => {
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
    ['no key that is good for anything', (one) => one.publish({ kty: 'oct', k: 'c2VjcmV0' })],
    ['an error', (one) => one.answer('{"keys":[]}', 503)],
    ['more than there is room for', (one) => one.answer(`{"keys":[]${' '.repeat(2 ** 20)}}`)],
  ])('are fetched again after %s', async (_what, misbehave) => {
    misbehave(issuer)
    keys.start()
    expect(await fetches.first(1)).toEqual([undefined])
    issuer.publish(one)
    await keys.loaded
    expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
  })

  it('without names are all that a token may be signed with, whatever it names', async () => {
    issuer.publish({ ...one.jwk, kid: undefined })
    keys.start()
    await keys.loaded
    expect(jwts.verify(one.token(CLAIMS))).toEqual(GOOD)
    expect(jwts.verify(two.token(CLAIMS))).toEqual(INVALID)
  })

  it('of which some have names may get another one that has', async () => {
    issuer.publish(one, { ...two.jwk, kid: undefined })
    keys.start()
    await keys.loaded
    expect(jwts.verify(two.token(CLAIMS))).toEqual(GOOD)
    expect(jwts.verify(new IssuerKey('three').token(CLAIMS))).toEqual(UNKNOWN)
  })

  it('are not looked for elsewhere', async () => {
    issuer.handle = ({ url }, response) => {
      if (url === '/other') response.end(JSON.stringify({ keys: [one.jwk] }))
      else response.writeHead(302, { Location: '/other' }).end()
    }
    keys.start()
    expect(await fetches.first(1)).toEqual([undefined])
  })
})
