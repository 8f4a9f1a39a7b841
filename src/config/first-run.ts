import { randomBytes } from 'node:crypto'
import { authenticatesClients, isStandaloneOnLoopback } from './rules.js'
import type { Config } from './settings.js'

/** Secrets generated for one run of a standalone node on loopback. */
export interface GeneratedSecrets {
  /** The static token of the user `guest`. */
  readonly token: string
  /** Undefined when the configuration has one. */
  readonly apiKey: string | undefined
}

/** Bytes that an HMAC secret needs at the least, or it is warned of: see rules.ts. Others are pasted into commands. */
const HMAC_SECRET_BYTES = 32

const randomSecret = (bytes = 18) => randomBytes(bytes).toString('base64url')

/**
 * Generates a token secret, one static token and, when there is none, an API key, so that a first run needs no
 * settings. Only if no authentication of clients is configured and no other machine can reach this node; otherwise
 * returns the configuration as it is.
 */
export function withGeneratedSecrets(config: Config): {
  config: Config
  generatedSecrets: GeneratedSecrets | undefined
} {
  if (!isStandaloneOnLoopback(config) || authenticatesClients(config))
    return { config, generatedSecrets: undefined }
  const token = randomSecret()
  const apiKey = config.apiKey === undefined ? randomSecret() : undefined
  return {
    config: {
      ...config,
      authTokens: [{ user: 'guest', token }],
      authHmacSecret: randomSecret(HMAC_SECRET_BYTES),
      apiKey: config.apiKey ?? apiKey,
    },
    generatedSecrets: { token, apiKey },
  }
}
