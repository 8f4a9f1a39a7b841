import { stringify } from '../protocol/json-text.js'
import type { Authentication, Authenticator, Identity, SubscriptionAuthentication } from './authenticator.js'
import { readExpiry, readIdentity, readUser } from './claims.js'
import type { JwtVerifier } from './jwt-verifier.js'
import { Secret } from './secret.js'

/** A configured token, shared by all clients that connect as one user. */
export interface StaticToken {
  /** Empty for an anonymous user. */
  readonly user: string
  readonly token: string
}

export interface TokenAuthenticatorOptions {
  readonly staticTokens: readonly StaticToken[]
  readonly jwts: JwtVerifier
  /** Whether a connection without a token is accepted, as an anonymous user. */
  readonly allowAnonymous: boolean
}

function identityOf(user: string): Identity {
  return { user, channels: undefined, subs: undefined, info: undefined, expiresAtMs: undefined }
}

/** Accepts static tokens and JWTs; the token of a subscription must be a JWT. */
export class TokenAuthenticator implements Authenticator {
  private readonly staticTokens: readonly { readonly secret: Secret; readonly identity: Identity }[]

  constructor(private readonly options: TokenAuthenticatorOptions) {
    this.staticTokens = options.staticTokens.map(({ user, token }) => ({
      secret: new Secret(token),
      identity: identityOf(user),
    }))
  }

  authenticate(token: string | undefined): Authentication {
    if (token === undefined || token === '') {
      return this.options.allowAnonymous ? { identity: identityOf('') } : { failure: 'missing' }
    }
    const staticIdentity = this.findStaticIdentity(token)
    if (staticIdentity !== undefined) return { identity: staticIdentity }
    const { claims, failure } = this.options.jwts.verify(token)
    if (claims === undefined) return { failure }
    const identity = readIdentity(claims)
    if (identity === undefined) return { failure: 'invalid' }
    return isPast(identity.expiresAtMs) ? { failure: 'expired' } : { identity }
  }

  authenticateSubscription(token: string, user: string, channel: string): SubscriptionAuthentication {
    const { claims, failure } = this.options.jwts.verify(token)
    if (claims === undefined) return { failure }
    const expiresAtMs = readExpiry(claims)
    if (readUser(claims) !== user || claims['channel'] !== channel || expiresAtMs === 'invalid') {
      return { failure: 'invalid' }
    }
    if (isPast(expiresAtMs)) return { failure: 'expired' }
    return { grant: { info: stringify(claims['info']), expiresAtMs } }
  }

  /**
   * Compares with every token, each in constant time, so that the time taken shows neither which token matched nor how
   * much of it.
   */
  private findStaticIdentity(token: string): Identity | undefined {
    let found: Identity | undefined
    for (const { secret, identity } of this.staticTokens) {
      if (secret.equals(token)) found = identity
    }
    return found
  }
}

/** The verifier checks `exp`; `expire_at`, which takes its place here, may have passed earlier. */
function isPast(timeMs: number | undefined): boolean {
  return timeMs !== undefined && timeMs <= Date.now()
}
