import { createVerifier, TokenError } from 'fast-jwt'
import type { Authentication, Authenticator, Identity } from './authenticator.js'
import { Secret } from './secret.js'

export interface TokenAuthenticatorOptions {
  readonly staticTokens: readonly { readonly user: string; readonly token: string }[]
  /** Verifies JWTs signed with HS256; undefined: no JWT is accepted. */
  readonly hmacSecret: string | undefined
  /** Whether a connection without a token is somebody without a name. */
  readonly allowAnonymous: boolean
}

/** Static tokens and JWTs. */
export class TokenAuthenticator implements Authenticator {
  private readonly staticTokens: readonly { readonly secret: Secret; readonly identity: Identity }[]
  private readonly verifyJwt: ((token: string) => unknown) | undefined

  constructor(private readonly options: TokenAuthenticatorOptions) {
    this.staticTokens = options.staticTokens.map(({ user, token }) => ({
      secret: new Secret(token),
      identity: { user, channels: undefined },
    }))
    const key = options.hmacSecret
    // One algorithm only: whoever signs must not be able to choose it (RFC 8725 §3.1).
    this.verifyJwt = key === undefined ? undefined : createVerifier({ key, algorithms: ['HS256'] })
  }

  authenticate(token: string | undefined): Authentication {
    if (token === undefined || token === '') {
      if (!this.options.allowAnonymous) return { failure: 'missing' }
      return { identity: { user: '', channels: undefined } }
    }
    const known = this.findStatic(token)
    if (known !== undefined) return { identity: known }
    return this.verifyJwt === undefined ? { failure: 'invalid' } : this.readJwt(this.verifyJwt, token)
  }

  /** Compares with every token, in constant time each, so that timing tells neither which nor how much matched. */
  private findStatic(token: string): Identity | undefined {
    let found: Identity | undefined
    for (const known of this.staticTokens) {
      if (known.secret.equals(token)) found = known.identity
    }
    return found
  }

  private readJwt(verify: (token: string) => unknown, token: string): Authentication {
    try {
      return readClaims(verify(token))
    } catch (error) {
      const code = error instanceof TokenError ? error.code : undefined
      if (code === TokenError.codes.expired) return { failure: 'expired' }
      if (code === TokenError.codes.inactive) return { failure: 'not_yet_valid' }
      return { failure: 'invalid' }
    }
  }
}

/** `sub` is the user, `channels` the only channels allowed; both may be absent. */
function readClaims(claims: unknown): Authentication {
  if (typeof claims !== 'object' || claims === null) return { failure: 'invalid' }
  const { sub = '', channels } = claims as { sub?: unknown; channels?: unknown }
  if (typeof sub !== 'string') return { failure: 'invalid' }
  if (channels === undefined) return { identity: { user: sub, channels: undefined } }
  if (!Array.isArray(channels) || !channels.every((one) => typeof one === 'string')) {
    return { failure: 'invalid' }
  }
  return { identity: { user: sub, channels } }
}
