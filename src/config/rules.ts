import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { mostConnections } from './descriptor-limit.js'
import { type Config, environmentName, type SettingKey } from './settings.js'

/** Something wrong with the configuration: where it was said, and what would be right. */
export interface Problem {
  readonly where: string
  readonly what: string
}

/** What single settings can't show: values that don't go together, files that aren't there, secrets that must be shared. */
export function contradictions(config: Config): Problem[] {
  const problems: Problem[] = []
  const blame = (key: SettingKey, what: string) => problems.push({ where: environmentName(key), what })

  if (config.port !== 0 && config.port === config.internalPort && config.host === config.internalHost) {
    blame('internalPort', `must differ from ${environmentName('port')}: both are ${config.port}`)
  }
  if (config.rawCheckInterval > config.rawTimeout) {
    blame('rawCheckInterval', `must be at most ${environmentName('rawTimeout')}`)
  }
  if (config.maxConnections > mostConnections()) {
    blame(
      'maxConnections',
      `is above ${mostConnections()}, what this process's limit of open files leaves; raise it (ulimit -n, LimitNOFILE=)`,
    )
  }
  if (config.workers > 1 && config.redisUrl === undefined) {
    blame('workers', `above 1 needs ${environmentName('redisUrl')}: workers hear each other through it`)
  }
  if (config.workers > 1 && config.port === 0) {
    blame('workers', `above 1 needs a ${environmentName('port')} to share, not 0`)
  }
  problems.push(...certificateProblems(config, 'tlsCert', 'tlsKey'))
  problems.push(...certificateProblems(config, 'internalTlsCert', 'internalTlsKey'))
  if (!isAlone(config) && !authenticatesClients(config)) {
    const reason =
      config.redisUrl === undefined ? `${environmentName('host')} is not loopback` : 'Redis is set'
    blame(
      'authTokens',
      `or ${environmentName('authHmacSecret')} must be set, since ${reason}: all nodes share them and none is made up (or set ${environmentName('authAnonymous')}=true)`,
    )
  }
  return problems
}

/** Whether the configuration says how clients show who they are. */
export function authenticatesClients(config: Config): boolean {
  return config.authTokens !== undefined || config.authHmacSecret !== undefined || config.authAnonymous
}

/** Whether this is one node that nobody else can reach: only then may secrets be made up. */
export function isAlone(config: Config): boolean {
  const isLoopback = /^(localhost|127(\.\d+){3}|::1)$/.test(config.host)
  return config.redisUrl === undefined && isLoopback
}

function certificateProblems(
  config: Config,
  certKey: 'tlsCert' | 'internalTlsCert',
  keyKey: 'tlsKey' | 'internalTlsKey',
): Problem[] {
  const certPath = config[certKey]
  const keyPath = config[keyKey]
  if (certPath === undefined && keyPath === undefined) return []
  if (certPath === undefined || keyPath === undefined) {
    const [present, absent] = certPath === undefined ? [keyKey, certKey] : [certKey, keyKey]
    return [{ where: environmentName(absent), what: `must be set together with ${environmentName(present)}` }]
  }
  const problems: Problem[] = []
  const read = (setting: SettingKey, path: string): Buffer | undefined => {
    try {
      return readFileSync(path)
    } catch (error) {
      const why = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
      problems.push({ where: environmentName(setting), what: `cannot read ${path} (${why})` })
      return undefined
    }
  }
  const cert = read(certKey, certPath)
  const key = read(keyKey, keyPath)
  if (cert === undefined || key === undefined) return problems
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    problems.push({
      where: environmentName(certKey),
      what: `${certPath} and ${keyPath} do not make a certificate (${why})`,
    })
  }
  return problems
}
