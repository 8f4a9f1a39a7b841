import { createSigner } from 'fast-jwt'
import { environmentName } from '../config/settings.js'
import { readValidConfiguration } from './configuration.js'
import { UsageError } from './usage-error.js'

export interface TokenOptions {
  readonly user: string
  /** Makes a connection token that allows only these channels. */
  readonly channel?: readonly string[]
  /** Makes a subscription token for this channel. */
  readonly subscribe?: string
  /** Time until the token expires, in milliseconds. */
  readonly ttl: number
  readonly config?: string
}

/** Makes a JWT that the configured nodes accept, for trying things out. Throws a UsageError without a secret. */
export function mintToken({ user, channel, subscribe, ttl, config: file }: TokenOptions): string {
  const { config } = readValidConfiguration({ config: file })
  const key = config.authHmacSecret
  if (key === undefined) {
    const name = environmentName('authHmacSecret')
    throw new UsageError(
      `${name} is not set: a token is signed with the secret that the nodes verify it with`,
    )
  }
  const sign = createSigner({ key, algorithm: 'HS256', expiresIn: ttl })
  return sign({
    sub: user,
    ...(channel !== undefined && { channels: channel }),
    ...(subscribe !== undefined && { channel: subscribe }),
  })
}
