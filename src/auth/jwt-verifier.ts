import { isRecord } from '../type-guards.js'
import type { AuthFailure } from './authenticator.js'
import { type Claims, isStringArray } from './claims.js'
import type { RemoteKeys } from './remote-keys.js'
import { hmacChecks, publicKeyChecks, type SignatureCheck, splitPems } from './signatures.js'

/** The longest token that is verified; a longer one is invalid. */
export const MAX_TOKEN_BYTES = 8 * 1024
/**
 * Header, payload and signature (RFC 7515 §7.1). `Buffer` skips characters that are not base64url, but such a token
 * must be refused.
 */
const COMPACT_FORM = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/

export interface JwtVerifierOptions {
  /** Verifies HS256, HS384 and HS512. */
  readonly hmacSecret: string | undefined
  /** One or more concatenated PEMs; they verify RS256–512, ES256–512 and EdDSA. */
  readonly publicKeys: string | undefined
  /** Keys that an issuer publishes; they verify the same algorithms as `publicKeys`. */
  readonly remoteKeys: RemoteKeys | undefined
  /** The value that the claim `aud` must equal or, when it is a list, contain. */
  readonly audience: string | undefined
  /** The value that the claim `iss` must equal. */
  readonly issuer: string | undefined
}

/** A decoded token header. */
interface Header {
  readonly encoded: string
  /** Version of the remote keys that `checks` come from. */
  readonly keysVersion: unknown
  /**
   * A signature is valid if one of these accepts it. Empty when no key has the algorithm, or the header can't be used.
   */
  readonly checks: readonly SignatureCheck[]
  readonly algorithm: string | undefined
  readonly keyId: string | undefined
}

export type Verification =
  | { readonly claims: Claims; readonly failure?: undefined }
  | { readonly claims?: undefined; readonly failure: AuthFailure }

/**
 * Verifies JSON Web Tokens with the configured keys and with those of a configured issuer. A token may name the
 * issuer's key that has signed it (`kid`); all other header fields about keys are ignored. RFC 7519 §7.2, RFC 8725
 * §3.1.
 *
 * A library for it took a quarter of the time that a connecting client costs a node, twice as much as the signature.
 */
export class JwtVerifier {
  /** By algorithm, each of which belongs to one kind of key: a token can't choose how a key is used. RFC 8725 §3.1. */
  private readonly localChecks = new Map<string, SignatureCheck[]>()
  /** An issuer gives all its tokens the same header, which therefore need not be decoded for each of them. */
  private lastHeader: Header | undefined

  /** Throws an Error of one line for a public key that can't be read or used. */
  constructor(private readonly options: JwtVerifierOptions) {
    const { hmacSecret, publicKeys = '' } = options
    if (hmacSecret !== undefined) this.add(hmacChecks(hmacSecret))
    for (const pem of splitPems(publicKeys)) this.add(publicKeyChecks(pem))
  }

  /** Verifies the signature, and the claims `exp`, `nbf`, `aud` and `iss`. Never throws. */
  verify(token: string): Verification {
    const [, header, payload, signature] = (token.length <= MAX_TOKEN_BYTES && COMPACT_FORM.exec(token)) || []
    if (header === undefined || payload === undefined || signature === undefined) {
      return { failure: 'invalid' }
    }
    const signed = token.slice(0, header.length + 1 + payload.length)
    const { checks, algorithm, keyId } = this.readHeader(header)
    if (!checks.some((check) => check(signed, signature))) {
      return { failure: this.failureOfUnverified(algorithm, keyId, payload) }
    }
    const claims = decodeJsonObject(payload)
    if (claims === undefined) return { failure: 'invalid' }
    const failure = this.failureOfClaims(claims)
    return failure === undefined ? { claims } : { failure }
  }

  private add(checks: ReadonlyMap<string, SignatureCheck>): void {
    for (const [algorithm, check] of checks) {
      this.localChecks.set(algorithm, [...(this.localChecks.get(algorithm) ?? []), check])
    }
  }

  private readHeader(encoded: string): Header {
    const { remoteKeys } = this.options
    const keysVersion = remoteKeys?.version
    if (this.lastHeader?.encoded === encoded && this.lastHeader.keysVersion === keysVersion)
      return this.lastHeader
    const { alg, kid, crit } = decodeJsonObject(encoded) ?? {}
    const keyId = typeof kid === 'string' ? kid : undefined
    // No critical header extension is supported, so a token with one is refused. RFC 7515 §4.1.11.
    const algorithm = typeof alg === 'string' && crit === undefined ? alg : undefined
    const checks =
      algorithm === undefined
        ? []
        : [...(this.localChecks.get(algorithm) ?? []), ...(remoteKeys?.checksFor(algorithm, keyId) ?? [])]
    const header = { encoded, keysVersion, checks, algorithm, keyId }
    if (checks.length > 0) this.lastHeader = header
    return header
  }

  /** Why a token is not accepted whose signature is of none of the keys. */
  private failureOfUnverified(
    algorithm: string | undefined,
    keyId: string | undefined,
    payload: string,
  ): AuthFailure {
    const key = this.options.remoteKeys?.requestKey(algorithm, keyId) ?? 'mismatch'
    if (key === 'mismatch') return 'invalid'
    // Of an expired token the signature no longer matters: its client needs a new one, and waiting for keys won't help.
    const { exp } = decodeJsonObject(payload) ?? {}
    const isExpired = typeof exp === 'number' && exp <= Date.now() / 1_000
    return key === 'retired' || isExpired ? 'expired' : 'key_unknown'
  }

  private failureOfClaims({ exp, nbf, aud, iss }: Claims): AuthFailure | undefined {
    if (!isOptionalNumber(exp) || !isOptionalNumber(nbf)) return 'invalid'
    const nowSeconds = Date.now() / 1_000
    if (exp !== undefined && nowSeconds >= exp) return 'expired'
    if (nbf !== undefined && nowSeconds < nbf) return 'not_yet_valid'
    const { audience, issuer } = this.options
    if (audience !== undefined && !includesAudience(aud, audience)) return 'invalid'
    return issuer === undefined || iss === issuer ? undefined : 'invalid'
  }
}

/** Decodes a JSON object in base64url. Returns undefined for anything else. */
function decodeJsonObject(encoded: string): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString())
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Whether a claim can be a NumericDate, in Unix seconds (RFC 7519 §2), or is absent. */
function isOptionalNumber(claim: unknown): claim is number | undefined {
  return claim === undefined || typeof claim === 'number'
}

/** `aud` is a text or a list of texts. RFC 7519 §4.1.3. */
function includesAudience(aud: unknown, audience: string): boolean {
  return isStringArray(aud) ? aud.includes(audience) : aud === audience
}
