import type { Authentication, Authenticator, Identity, SubscriptionAuthentication } from './authenticator.js'
import { readExpiry, readIdentity, readUser, textOf } from './claims.js'
import type { JwtVerifier } from './jwt-verifier.js'
import { Secret } from './secret.js'

export interface TokenAuthenticatorOptions {
  readonly staticTokens: readonly { readonly user: string; readonly token: string }[]
  readonly jwts: JwtVerifier
  /** Whether a connection without a token is somebody without a name. */
  readonly allowAnonymous: boolean
}

function identityOf(user: string): Identity {
  return { user, channels: undefined, subs: undefined, info: undefined, expiresAtMs: undefined }
}

/** Static tokens and JWTs. */
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
    const known = this.findStatic(token)
    if (known !== undefined) return { identity: known }
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
    if (readUser(claims) !== user || claims['channel'] !== channel || expiresAtMs === 'wrong') {
      return { failure: 'invalid' }
    }
    if (isPast(expiresAtMs)) return { failure: 'expired' }
    return { grant: { info: textOf(claims['info']), expiresAtMs } }
  }

  /** Compares with every token, in constant time each, so that timing tells neither which nor how much matched. */
  private findStatic(token: string): Identity | undefined {
    let found: Identity | undefined
    for (const known of this.staticTokens) {
      if (known.secret.equals(token)) found = known.identity
    }
    return found
  }
}

/** `expire_at` may be over before `exp` is. */
function isPast(timeMs: number | undefined): boolean {
  return timeMs !== undefined && timeMs <= Date.now()
}
