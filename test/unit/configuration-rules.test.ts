import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { connectionCapacity, RESERVED_DESCRIPTORS } from '../../src/config/descriptor-limit.js'
import { withGeneratedSecrets } from '../../src/config/first-run.js'
import { loadConfig } from '../../src/config/load.js'
import { CERT_PATH } from '../support/tls/files.js'

const directory = mkdtempSync(join(tmpdir(), 'fanfare-rules-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function problemsOf(environment: Readonly<Record<string, string>>): string[] {
  return loadConfig({ environment }).problems.map(({ where, what }) => `${where}: ${what}`)
}

describe('settings that contradict each other are a problem', () => {
  it('when both listeners have one address', () => {
    expect(problemsOf({ FANFARE_INTERNAL_PORT: '8000' })).toEqual([
      'FANFARE_INTERNAL_PORT (environment): must differ from FANFARE_PORT: both are 8000',
    ])
    expect(problemsOf({ FANFARE_INTERNAL_PORT: '8000', FANFARE_INTERNAL_HOST: '127.0.0.2' })).toEqual([])
    expect(problemsOf({ FANFARE_PORT: '0', FANFARE_INTERNAL_PORT: '0' })).toEqual([])
    const everywhere = { FANFARE_HOST: '0.0.0.0', FANFARE_AUTH_TOKENS: 'one', FANFARE_PORT: '9000' }
    expect(problemsOf(everywhere)).toEqual([expect.stringContaining('both are 9000')])
  })

  it('when connections are checked less often than they time out', () => {
    expect(problemsOf({ FANFARE_RAW_CHECK_INTERVAL: '31s' })).toEqual([
      'FANFARE_RAW_CHECK_INTERVAL (environment): must be at most FANFARE_RAW_TIMEOUT',
    ])
    expect(problemsOf({ FANFARE_RAW_CHECK_INTERVAL: '30s' })).toEqual([])
  })

  it('when more connections are allowed than there are descriptors', () => {
    const problems = problemsOf({ FANFARE_MAX_CONNECTIONS: '1000000' })
    if (connectionCapacity() >= 1_000_000) expect(problems).toEqual([])
    else
      expect(problems).toEqual([
        expect.stringMatching(/^FANFARE_MAX_CONNECTIONS \(environment\): is above \d+,.*ulimit -n/),
      ])
  })

  it('when the largest message does not fit into the relay queue', () => {
    expect(problemsOf({ FANFARE_RELAY_QUEUE_BYTES: '1MiB' })).toEqual([
      expect.stringMatching(/^FANFARE_RELAY_QUEUE_BYTES .*above FANFARE_MAX_MESSAGE_BYTES/),
    ])
  })

  it.each([
    ['-----BEGIN PUBLIC KEY-----\nMFkw', 'PEM key'],
    ['{"kty":"RSA","n":"AQAB","e":"AQAB"}', 'JSON Web Key'],
    ['{\n  "kty" : "OKP"\n}', 'JSON Web Key'],
  ])('when a key is given as the shared secret: %j', (key, form) => {
    expect(problemsOf({ FANFARE_AUTH_HMAC_SECRET: key })).toEqual([
      `FANFARE_AUTH_HMAC_SECRET (environment): is a ${form}, not a shared secret`,
    ])
  })

  it('but not when one of them is invalid by itself', () => {
    expect(problemsOf({ FANFARE_PORT: 'x', FANFARE_INTERNAL_PORT: '8000' })).toHaveLength(1)
    expect(
      problemsOf({ FANFARE_REDIS_URL: 'redis://localhost', FANFARE_AUTH_ANONYMOUS: 'yes' }),
    ).toHaveLength(1)
  })

  it('but a setting that is invalid by itself is reported once', () => {
    expect(problemsOf({ FANFARE_INTERNAL_PORT: 'x', FANFARE_PORT: '9000' })).toEqual([
      'FANFARE_INTERNAL_PORT (environment): "x" is not right; use a port from 0 to 65535',
    ])
  })
})

describe('certificate and key', () => {
  const garbage = join(directory, 'garbage.pem')
  writeFileSync(garbage, 'not a certificate')
  const missing = join(directory, 'missing.pem')

  it.each([
    ['FANFARE_TLS_CERT', 'FANFARE_TLS_KEY'],
    ['FANFARE_TLS_KEY', 'FANFARE_TLS_CERT'],
    ['FANFARE_INTERNAL_TLS_CERT', 'FANFARE_INTERNAL_TLS_KEY'],
    ['FANFARE_INTERNAL_TLS_KEY', 'FANFARE_INTERNAL_TLS_CERT'],
  ])('must be set together: %s alone lacks %s', (given, absent) => {
    expect(problemsOf({ [given]: garbage })).toEqual([`${absent}: must be set together with ${given}`])
  })

  it('that do not exist are each reported', () => {
    expect(problemsOf({ FANFARE_TLS_CERT: missing, FANFARE_TLS_KEY: missing })).toEqual([
      `FANFARE_TLS_CERT (environment): cannot read ${missing} (ENOENT)`,
      `FANFARE_TLS_KEY (environment): cannot read ${missing} (ENOENT)`,
    ])
  })

  it('that are a directory or no certificate are reported', () => {
    expect(problemsOf({ FANFARE_TLS_CERT: directory, FANFARE_TLS_KEY: garbage })).toEqual([
      `FANFARE_TLS_CERT (environment): cannot read ${directory} (EISDIR)`,
    ])
    expect(problemsOf({ FANFARE_TLS_CERT: garbage, FANFARE_TLS_KEY: garbage })).toEqual([
      expect.stringMatching(/^FANFARE_TLS_CERT \(environment\): .* do not make a certificate \(.+\)$/),
    ])
  })
})

describe('certificates of Redis', () => {
  const garbage = join(directory, 'no-authority.pem')
  writeFileSync(garbage, 'not a certificate')
  const secret = { FANFARE_AUTH_TOKENS: 'secret' }
  const encrypted = { ...secret, FANFARE_REDIS_URL: 'rediss://localhost' }

  it.each([
    ['FANFARE_REDIS_TLS_CERT', 'FANFARE_REDIS_TLS_KEY'],
    ['FANFARE_REDIS_TLS_KEY', 'FANFARE_REDIS_TLS_CERT'],
  ])('must be set together: %s alone lacks %s', (given, absent) => {
    expect(problemsOf({ ...encrypted, [given]: CERT_PATH })).toEqual([
      `${absent}: must be set together with ${given}`,
    ])
  })

  it('need an address with TLS', () => {
    const settings = { ...secret, FANFARE_REDIS_URL: 'redis://localhost', FANFARE_REDIS_TLS_CA: CERT_PATH }
    expect(problemsOf(settings)).toEqual([
      expect.stringMatching(/^FANFARE_REDIS_TLS_CA .* FANFARE_REDIS_URL must begin with rediss$/),
    ])
    expect(problemsOf({ ...settings, ...encrypted })).toEqual([])
  })

  it('must be certificates', () => {
    for (const path of [garbage, join(directory, 'none.pem')]) {
      expect(problemsOf({ ...encrypted, FANFARE_REDIS_TLS_CA: path })).toEqual([
        expect.stringMatching(/^FANFARE_REDIS_TLS_CA .* holds no certificates \(.+\)$/),
      ])
    }
  })
})

describe('secrets', () => {
  const shared = { FANFARE_REDIS_URL: 'redis://127.0.0.1:6379' }

  it.each([
    ['Redis is set', shared],
    ['FANFARE_HOST is not loopback', { FANFARE_HOST: '0.0.0.0' }],
    ['FANFARE_HOST is not loopback', { FANFARE_HOST: '::' }],
    ['FANFARE_HOST is not loopback', { FANFARE_HOST: '127.example.com' }],
  ])('must be configured when %s: %j', (reason, environment) => {
    expect(problemsOf(environment)).toEqual([
      expect.stringMatching(
        new RegExp(`^FANFARE_AUTH_TOKENS: or FANFARE_AUTH_HMAC_SECRET, .*since ${reason}`),
      ),
    ])
  })

  it.each([
    { FANFARE_AUTH_TOKENS: 'one' },
    { FANFARE_AUTH_HMAC_SECRET: 'one' },
    { FANFARE_AUTH_JWKS_URL: 'https://issuer.example.com/keys.json' },
    { FANFARE_AUTH_ANONYMOUS: 'true' },
  ])('are configured by %j', (environment) => {
    expect(problemsOf({ ...shared, ...environment })).toEqual([])
  })

  it.each([
    ['http://issuer.example.com/keys.json', 1],
    ['http://127.0.0.1:8080/keys.json', 0],
    ['http://[::1]:8080/keys.json', 0],
    ['https://issuer.example.com/keys.json', 0],
  ])('cause a warning when they come over the network without TLS: %s', (url, count) => {
    const warning = /^FANFARE_AUTH_JWKS_URL is not https/
    const { warnings } = loadConfig({ environment: { FANFARE_AUTH_JWKS_URL: url } })
    expect(warnings.filter((line) => warning.test(line))).toHaveLength(count)
  })

  it.each(['ftp://issuer.example.com/', 'issuer.example.com', 'https://user:password@issuer.example.com/'])(
    'are not fetched from an address such as %s',
    (url) => {
      expect(problemsOf({ FANFARE_AUTH_JWKS_URL: url })).toEqual([
        expect.stringContaining('use https://… or http://…, without a user and a password'),
      ])
    },
  )

  it.each(['alice=', 'a=b,bob=', 'YWJj=', '='])('must not be empty for any user: %s', (tokens) => {
    expect(problemsOf({ FANFARE_AUTH_TOKENS: tokens })).toHaveLength(1)
  })

  it.each(['c29tZSBzZWNyZXQgdGhhdA==', 'bob=c29tZSBzZWNyZXQgdGhhdA==', 'bob=a=b'])(
    'may contain or end in =: %s',
    (tokens) => {
      expect(problemsOf({ FANFARE_AUTH_TOKENS: tokens })).toEqual([])
    },
  )

  it('identify one user each', () => {
    expect(problemsOf({ FANFARE_AUTH_TOKENS: 'alice=one,bob=one' })).toEqual([
      expect.stringContaining('has a token twice'),
    ])
  })

  it('are generated for a standalone node, different ones each time', () => {
    const { config } = loadConfig({})
    const [one, other] = [withGeneratedSecrets(config), withGeneratedSecrets(config)]
    expect(one.generatedSecrets?.token).toMatch(/^[\w-]{20,}$/)
    expect(one.config.authTokens).toEqual([{ user: 'guest', token: one.generatedSecrets?.token }])
    expect(one.config.apiKey).toBe(one.generatedSecrets?.apiKey)
    const all = [one, other].flatMap(({ config: generated }) => [
      generated.authTokens?.[0]?.token,
      generated.authHmacSecret,
      generated.apiKey,
    ])
    expect(new Set(all).size).toBe(6)
  })

  it('are long enough that no warning is due', () => {
    const { config } = withGeneratedSecrets(loadConfig({}).config)
    const options = { authHmacSecret: config.authHmacSecret, apiKey: config.apiKey }
    const { warnings, problems } = loadConfig({ options })
    expect([...problems, ...warnings]).toEqual([])
    expect(Buffer.from(config.authHmacSecret ?? '', 'base64url')).toHaveLength(32)
  })

  it.each([
    shared,
    { FANFARE_HOST: '0.0.0.0' },
    { FANFARE_AUTH_TOKENS: 'one' },
    { FANFARE_AUTH_HMAC_SECRET: 'x' },
    { FANFARE_AUTH_ANONYMOUS: 'true' },
  ])('are not generated with %j', (environment) => {
    const { config } = loadConfig({ environment })
    expect(withGeneratedSecrets(config)).toEqual({ config, generatedSecrets: undefined })
  })

  it.each(['localhost', '127.0.0.1', '127.8.9.10', '::1'])(
    'are generated on the loopback address %s',
    (host) => {
      const { config } = loadConfig({ environment: { FANFARE_HOST: host } })
      expect(withGeneratedSecrets(config).generatedSecrets).toBeDefined()
    },
  )

  it('that are configured are kept beside generated ones', () => {
    const { config } = loadConfig({ environment: { FANFARE_API_KEY: 'mine' } })
    const result = withGeneratedSecrets(config)
    expect(result.config.apiKey).toBe('mine')
    expect(result.generatedSecrets?.apiKey).toBeUndefined()
    expect(result.generatedSecrets?.token).toBeDefined()
  })
})

describe('the connection capacity', () => {
  it('leaves the reserve of descriptors free', () => {
    expect(connectionCapacity(20_000)).toBe(20_000 - RESERVED_DESCRIPTORS)
  })

  it('is half of very few descriptors, and a million of unlimited ones', () => {
    expect(connectionCapacity(100)).toBe(50)
    expect(connectionCapacity(Number.POSITIVE_INFINITY)).toBe(1_000_000)
  })
})
