import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { errorMessage } from '../error-message.js'
import { connectionCapacity } from './descriptor-limit.js'
import { parseRedisAddresses } from './redis-address.js'
import { type Config, environmentName, type SettingKey } from './settings.js'
import { unreadableFile } from './unreadable-file.js'

/** A rule that the configuration breaks. */
export interface RuleViolation {
  /** The setting to change first, then the others that the rule is about. */
  readonly keys: readonly [SettingKey, ...SettingKey[]]
  /** Completes a sentence that begins with the name of the first setting. */
  readonly what: string
}

/** How much larger a relay entry can be than the message in it. */
const ENTRY_MARGIN_BYTES = 1024
const LOOPBACK = /^(localhost|127(\.\d+){3}|::1|\[::1\])$/
const WILDCARDS = ['0.0.0.0', '::']

/**
 * Checks what the kind of a single setting can't: values that contradict each other, missing files, and secrets that
 * all nodes must share. `isAuthenticatedElsewhere`: an application authenticates clients, so that no secret is
 * required.
 */
export function ruleViolations(config: Config, isAuthenticatedElsewhere: boolean): RuleViolation[] {
  return [
    ...portProblems(config),
    ...limitProblems(config),
    ...certificateProblems(config),
    ...(isAuthenticatedElsewhere ? [] : missingSecretProblems(config)),
    ...secretProblems(config),
  ]
}

function portProblems(config: Config): RuleViolation[] {
  const found: RuleViolation[] = []
  const { host, port, internalHost, internalPort, workers } = config
  const isSameHost = host === internalHost || WILDCARDS.includes(host) || WILDCARDS.includes(internalHost)
  if (port !== 0 && port === internalPort && isSameHost) {
    const what = `must differ from ${environmentName('port')}: both are ${port}`
    found.push({ keys: ['internalPort', 'port', 'host', 'internalHost'], what })
  }
  if (workers > 1 && config.redisUrl === undefined) {
    const what = `above 1 needs ${environmentName('redisUrl')}: workers reach each other through it`
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

function limitProblems(config: Config): RuleViolation[] {
  const found: RuleViolation[] = []
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
  if (config.maxConnections > connectionCapacity()) {
    const what = `is above ${connectionCapacity()}, what this process's limit of open files leaves; raise it (ulimit -n, LimitNOFILE=)`
    found.push({ keys: ['maxConnections'], what })
  }
  return found
}

function missingSecretProblems(config: Config): RuleViolation[] {
  if (isStandaloneOnLoopback(config) || authenticatesClients(config)) return []
  const why = config.redisUrl === undefined ? `${environmentName('host')} is not loopback` : 'Redis is set'
  const what = `or ${environmentName('authHmacSecret')}, ${environmentName('authPublicKey')} or ${environmentName('authJwksUrl')} must be set, since ${why}: all nodes share them and none is made up (or set ${environmentName('authAnonymous')}=true)`
  const secrets = ['authHmacSecret', 'authPublicKey', 'authJwksUrl', 'authAnonymous'] as const
  return [{ keys: ['authTokens', ...secrets, 'redisUrl', 'host'], what }]
}

function secretProblems(config: Config): RuleViolation[] {
  const found: RuleViolation[] = []
  const tokens = (config.authTokens ?? []).map(({ token }) => token)
  if (new Set(tokens).size < tokens.length) {
    found.push({
      keys: ['authTokens'],
      what: 'has a token twice: the node could not tell which user shows it',
    })
  }
  // Used as an HMAC secret, a public key would let all who know it sign tokens. RFC 8725 §2.1.
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

/** The size of the smallest hash, SHA-256 (RFC 7518 §3.2). A shorter secret can be found from a token by trying. */
const MIN_SECRET_BYTES = 32

/** Settings that work but weaken security, each as one line for the log. */
export function securityWarnings({ authHmacSecret, authJwksUrl }: Config): string[] {
  const found: string[] = []
  const bytes = Buffer.byteLength(authHmacSecret ?? '')
  if (authHmacSecret !== undefined && bytes < MIN_SECRET_BYTES) {
    found.push(
      `${environmentName('authHmacSecret')} has ${bytes} bytes: whoever sees a token could guess it; use ${MIN_SECRET_BYTES} random ones or more`,
    )
  }
  if (authJwksUrl !== undefined) {
    const { protocol, hostname } = new URL(authJwksUrl)
    if (protocol !== 'https:' && !LOOPBACK.test(hostname)) {
      found.push(
        `${environmentName('authJwksUrl')} is not https://: whoever is on the way to it can let any client in`,
      )
    }
  }
  return found
}

/** Whether the configuration has a way to authenticate clients, or accepts them without. */
export function authenticatesClients(config: Config): boolean {
  return (
    config.authTokens !== undefined ||
    config.authHmacSecret !== undefined ||
    config.authPublicKey !== undefined ||
    config.authJwksUrl !== undefined ||
    config.authAnonymous
  )
}

/**
 * Whether this is a single node that no other machine can reach: only then may secrets be generated, since no other
 * node needs them.
 */
export function isStandaloneOnLoopback(config: Config): boolean {
  return config.redisUrl === undefined && LOOPBACK.test(config.host)
}

function certificateProblems(config: Config): RuleViolation[] {
  return [
    ...certificatePairProblems(config, 'tlsCert', 'tlsKey'),
    ...certificatePairProblems(config, 'internalTlsCert', 'internalTlsKey'),
    ...certificatePairProblems(config, 'redisTlsCert', 'redisTlsKey'),
    ...redisTlsProblems(config),
  ]
}

function redisTlsProblems({ redisUrl, redisTlsCa, redisTlsCert }: Config): RuleViolation[] {
  const key = redisTlsCa === undefined ? 'redisTlsCert' : 'redisTlsCa'
  if (redisTlsCa === undefined && redisTlsCert === undefined) return []
  if (redisUrl === undefined || !parseRedisAddresses(redisUrl).some(({ isTls }) => isTls)) {
    const what = `is for connections with TLS: ${environmentName('redisUrl')} must begin with rediss`
    return [{ keys: [key, 'redisUrl'], what }]
  }
  if (redisTlsCa === undefined) return []
  try {
    // A context for TLS would ignore what is no certificate.
    new X509Certificate(readFileSync(redisTlsCa))
    return []
  } catch (error) {
    return [{ keys: ['redisTlsCa'], what: `${redisTlsCa} holds no certificates (${errorMessage(error)})` }]
  }
}

function certificatePairProblems(
  config: Config,
  certKey: 'tlsCert' | 'internalTlsCert' | 'redisTlsCert',
  keyKey: 'tlsKey' | 'internalTlsKey' | 'redisTlsKey',
): RuleViolation[] {
  const certPath = config[certKey]
  const keyPath = config[keyKey]
  if (certPath === undefined && keyPath === undefined) return []
  if (certPath === undefined || keyPath === undefined) {
    const [present, absent] =
      certPath === undefined ? ([keyKey, certKey] as const) : ([certKey, keyKey] as const)
    return [{ keys: [absent, present], what: `must be set together with ${environmentName(present)}` }]
  }
  const found: RuleViolation[] = []
  const read = (setting: SettingKey, path: string): Buffer | undefined => {
    try {
      return readFileSync(path)
    } catch (error) {
      found.push({ keys: [setting], what: unreadableFile(path, error) })
      return undefined
    }
  }
  const cert = read(certKey, certPath)
  const key = read(keyKey, keyPath)
  if (cert === undefined || key === undefined) return found
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    const why = errorMessage(error)
    found.push({
      keys: [certKey, keyKey],
      what: `${certPath} and ${keyPath} do not make a certificate (${why})`,
    })
  }
  return found
}
