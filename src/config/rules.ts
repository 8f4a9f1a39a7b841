import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { mostConnections } from './descriptor-limit.js'
import { type Config, environmentName, type SettingKey } from './settings.js'

/** Settings that don't go together: the one to change first, then the others that took part. */
export interface Contradiction {
  readonly keys: readonly [SettingKey, ...SettingKey[]]
  readonly what: string
}

/** What an entry of the relay is larger than the message in it. */
const ENTRY_MARGIN_BYTES = 1024
const LOOPBACK = /^(localhost|127(\.\d+){3}|::1|\[::1\])$/
const WILDCARDS = ['0.0.0.0', '::']

/** What single settings can't show: values that don't go together, files that aren't there, secrets that must be shared. */
export function contradictions(config: Config, isAuthenticatedElsewhere: boolean): Contradiction[] {
  return [
    ...portProblems(config),
    ...limitProblems(config),
    ...certificateProblems(config),
    ...(isAuthenticatedElsewhere ? [] : missingSecretProblems(config)),
    ...secretProblems(config),
  ]
}

function portProblems(config: Config): Contradiction[] {
  const found: Contradiction[] = []
  const { host, port, internalHost, internalPort, workers } = config
  const isSameHost = host === internalHost || WILDCARDS.includes(host) || WILDCARDS.includes(internalHost)
  if (port !== 0 && port === internalPort && isSameHost) {
    const what = `must differ from ${environmentName('port')}: both are ${port}`
    found.push({ keys: ['internalPort', 'port', 'host', 'internalHost'], what })
  }
  if (workers > 1 && config.redisUrl === undefined) {
    const what = `above 1 needs ${environmentName('redisUrl')}: workers hear each other through it`
    found.push({ keys: ['workers', 'redisUrl'], what })
  }
  if (workers > 1 && port === 0) {
    found.push({
      keys: ['workers', 'port'],
      what: `above 1 needs a ${environmentName('port')} to share, not 0`,
    })
  }
  return found
}

function limitProblems(config: Config): Contradiction[] {
  const found: Contradiction[] = []
  if (config.rawCheckInterval > config.rawTimeout) {
    const what = `must be at most ${environmentName('rawTimeout')}`
    found.push({ keys: ['rawCheckInterval', 'rawTimeout'], what })
  }
  if (config.relayQueueBytes < config.maxMessageBytes + ENTRY_MARGIN_BYTES) {
    const what = `must be above ${environmentName('maxMessageBytes')}, or the largest message never fits`
    found.push({ keys: ['relayQueueBytes', 'maxMessageBytes'], what })
  }
  if (config.pongTimeout >= config.pingInterval) {
    const what = `must be less than ${environmentName('pingInterval')}`
    found.push({ keys: ['pongTimeout', 'pingInterval'], what })
  }
  if (config.maxConnections > mostConnections()) {
    const what = `is above ${mostConnections()}, what this process's limit of open files leaves; raise it (ulimit -n, LimitNOFILE=)`
    found.push({ keys: ['maxConnections'], what })
  }
  return found
}

function missingSecretProblems(config: Config): Contradiction[] {
  if (isAlone(config) || authenticatesClients(config)) return []
  const why = config.redisUrl === undefined ? `${environmentName('host')} is not loopback` : 'Redis is set'
  const what = `or ${environmentName('authHmacSecret')}, ${environmentName('authPublicKey')} or ${environmentName('authJwksUrl')} must be set, since ${why}: all nodes share them and none is made up (or set ${environmentName('authAnonymous')}=true)`
  const secrets = ['authHmacSecret', 'authPublicKey', 'authJwksUrl', 'authAnonymous'] as const
  return [{ keys: ['authTokens', ...secrets, 'redisUrl', 'host'], what }]
}

function secretProblems(config: Config): Contradiction[] {
  const found: Contradiction[] = []
  const tokens = (config.authTokens ?? []).map(({ token }) => token)
  if (new Set(tokens).size < tokens.length) {
    found.push({ keys: ['authTokens'], what: 'has a token twice: nobody could tell who shows it' })
  }
  // Whoever has a public key could sign with it.
  const key = /-----BEGIN|"kty"\s*:/.exec(config.authHmacSecret ?? '')?.[0]
  if (key !== undefined) {
    const form = key === '-----BEGIN' ? 'PEM key' : 'JSON Web Key'
    found.push({ keys: ['authHmacSecret'], what: `is a ${form}, not a shared secret` })
  }
  if (config.authHeader.toLowerCase() === 'authorization') {
    found.push({ keys: ['authHeader'], what: 'must be another header: Authorization: Bearer is read anyway' })
  }
  return found
}

/** What a hash of 256 bits is worth: a shorter secret can be guessed from any token. */
const LEAST_SECRET_BYTES = 32

/** What works but should not stay so, each a line for the log. */
export function weaknesses({ authHmacSecret, authJwksUrl }: Config): string[] {
  const found: string[] = []
  const bytes = Buffer.byteLength(authHmacSecret ?? '')
  if (authHmacSecret !== undefined && bytes < LEAST_SECRET_BYTES) {
    found.push(
      `${environmentName('authHmacSecret')} has ${bytes} bytes: whoever sees a token could guess it; use ${LEAST_SECRET_BYTES} random ones or more`,
    )
  }
  if (authJwksUrl !== undefined) {
    const { protocol, hostname } = new URL(authJwksUrl)
    if (protocol !== 'https:' && !LOOPBACK.test(hostname)) {
      found.push(
        `${environmentName('authJwksUrl')} is not https://: whoever is on the way to it can let anybody in`,
      )
    }
  }
  return found
}

/** Whether the configuration says how clients show who they are. */
export function authenticatesClients(config: Config): boolean {
  return (
    config.authTokens !== undefined ||
    config.authHmacSecret !== undefined ||
    config.authPublicKey !== undefined ||
    config.authJwksUrl !== undefined ||
    config.authAnonymous
  )
}

/** Whether this is one node that nobody else can reach: only then may secrets be made up. */
export function isAlone(config: Config): boolean {
  return config.redisUrl === undefined && LOOPBACK.test(config.host)
}

function certificateProblems(config: Config): Contradiction[] {
  return [
    ...certificatePairProblems(config, 'tlsCert', 'tlsKey'),
    ...certificatePairProblems(config, 'internalTlsCert', 'internalTlsKey'),
  ]
}

function certificatePairProblems(
  config: Config,
  certKey: 'tlsCert' | 'internalTlsCert',
  keyKey: 'tlsKey' | 'internalTlsKey',
): Contradiction[] {
  const certPath = config[certKey]
  const keyPath = config[keyKey]
  if (certPath === undefined && keyPath === undefined) return []
  if (certPath === undefined || keyPath === undefined) {
    const [present, absent] =
      certPath === undefined ? ([keyKey, certKey] as const) : ([certKey, keyKey] as const)
    return [{ keys: [absent, present], what: `must be set together with ${environmentName(present)}` }]
  }
  const found: Contradiction[] = []
  const read = (setting: SettingKey, path: string): Buffer | undefined => {
    try {
      return readFileSync(path)
    } catch (error) {
      const why = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
      found.push({ keys: [setting], what: `cannot read ${path} (${why})` })
      return undefined
    }
  }
  const cert = read(certKey, certPath)
  const key = read(keyKey, keyPath)
  if (cert === undefined || key === undefined) return found
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    found.push({
      keys: [certKey, keyKey],
      what: `${certPath} and ${keyPath} do not make a certificate (${why})`,
    })
  }
  return found
}
