import { randomBytes } from 'node:crypto'
import { authenticatesClients, isAlone } from './rules.js'
import type { Config } from './settings.js'

/** Secrets made up for one run of a node that is alone. */
export interface GeneratedSecrets {
  readonly token: string
  /** Undefined where the configuration has one. */
  readonly apiKey: string | undefined
}

const random = () => randomBytes(18).toString('base64url')

/**
 * Where nothing says how clients show who they are and nobody else can reach this node, makes up a token secret, one
 * static token and, where there is none, an API key, so that the first run just works.
 */
export function withGeneratedSecrets(config: Config): {
  config: Config
  madeUp: GeneratedSecrets | undefined
} {
  if (!isAlone(config) || authenticatesClients(config)) return { config, madeUp: undefined }
  const token = random()
  const apiKey = config.apiKey === undefined ? random() : undefined
  return {
    config: {
      ...config,
      authTokens: [{ user: 'guest', token }],
      authHmacSecret: random(),
      apiKey: config.apiKey ?? apiKey,
    },
    madeUp: { token, apiKey },
  }
}
