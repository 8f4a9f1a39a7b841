import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import { type Config, SETTING_KEYS } from '../../src/config/settings.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { forkWorker } from '../../src/workers/fork.js'
import type { FromWorker, ToWorker } from '../../src/workers/messages.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { IssuerKey } from '../support/issuer.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'

/** Sends a message to a process that echoes it, started as the supervisor starts workers. Resolves with the echo. */
async function echoed(message: ToWorker | FromWorker): Promise<unknown> {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-echo-'))
  afterThisTest(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, 'echo.mjs')
  writeFileSync(file, "process.on('message', (message) => process.send(message))")
  const worker = forkWorker(file)
  afterThisTest(() => worker.kill('SIGKILL'))
  worker.send(message)
  const [echo] = (await once(worker, 'message')) as [unknown]
  return echo
}

/** A configuration in which every setting has a value, and every option of a namespace. */
function everySetting(): Config {
  const { config, problems } = loadConfig({
    options: {
      tlsCert: CERT_PATH,
      tlsKey: KEY_PATH,
      internalTlsCert: CERT_PATH,
      internalTlsKey: KEY_PATH,
      redisUrl: 'rediss://user:password@redis.example:6379',
      redisTlsCa: CERT_PATH,
      redisTlsCert: CERT_PATH,
      redisTlsKey: KEY_PATH,
      authTokens: 'ann=secret-a,secret-b',
      authHmacSecret: 'a secret that signs tokens, long enough',
      authPublicKey: new IssuerKey('key').publicKey.export({ type: 'spki', format: 'pem' }),
      authJwksUrl: 'https://issuer.example/keys',
      authAudience: 'fanfare',
      authIssuer: 'issuer',
      allowedOrigins: 'https://app.example.com,*.example.org',
      apiKey: 'a-key',
      namespaces: [{ name: 'room', channel_regex: '^\\d+$', history_size: 10, history_ttl: '1m' }],
    },
  })
  expect(problems).toEqual([])
  return config
}

afterEach(cleanUp)

describe('a message between a supervisor and its workers', () => {
  it('is received unchanged, including every setting of the configuration', async () => {
    const config = everySetting()
    expect(SETTING_KEYS.filter((key) => config[key] === undefined)).toEqual([])
    expect(Object.values(config.namespaces?.[0] ?? {})).not.toContain(undefined)
    const start: ToWorker = { type: 'start', config, worker: 1 }
    expect(await echoed(start)).toStrictEqual(start)
  })

  it('is received unchanged, including metrics that are not finite numbers', async () => {
    const metrics = new Metrics('test')
    metrics.redisUp.set({ shard: '0', role: 'publisher' }, Number.NaN)
    metrics.draining.set(Number.POSITIVE_INFINITY)
    const readiness = {
      status: 'deaf',
      reasons: ['relay_silent'],
      relaySilenceMs: Number.POSITIVE_INFINITY,
    } as const
    const report = { readiness, metrics: await metrics.snapshot() }
    const message: FromWorker = { type: 'report', id: 1, report }
    expect(await echoed(message)).toEqual(message)
  })
})
