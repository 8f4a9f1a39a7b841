import type { AuthFailure } from './authenticator.js'
import { hmacChecks, publicKeyChecks, type SignatureCheck, splitPems } from './signatures.js'

/** The longest token that is looked at. */
const MAX_TOKEN_BYTES = 8 * 1024
/** Header, payload and signature. Whoever decodes them leaves out what is not base64url, which is to be refused. */
const COMPACT_FORM = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/

export interface JwtVerifierOptions {
  /** Verifies HS256, HS384 and HS512. */
  readonly hmacSecret: string | undefined
  /** One or more PEMs, one behind the other; verify RS, ES and EdDSA. */
  readonly publicKeys: string | undefined
  /** What `aud` must be or hold. */
  readonly audience: string | undefined
  /** What `iss` must be. */
  readonly issuer: string | undefined
}

export type Claims = Readonly<Record<string, unknown>>

export type Verified =
  | { readonly claims: Claims; readonly failure?: undefined }
  | { readonly claims?: undefined; readonly failure: AuthFailure }

/**
 * Verifies JSON Web Tokens with configured keys only: what a token says of keys is not looked at. RFC 7519 §7.2, RFC 8725
 * §3.1.
 *
 * A library for it took a quarter of what a connecting client costs a node, twice as much as the signature.
 */
export class JwtVerifier {
  /** By algorithm: each belongs to keys of one kind, so that whoever signs can't choose how a key is used. */
  private readonly checks = new Map<string, SignatureCheck[]>()
  /** Whoever issues tokens gives all of them one header: read once, it need not be decoded for each. */
  private lastHeader: { readonly encoded: string; readonly checks: readonly SignatureCheck[] } | undefined

  /** Throws one line for a public key that can't be read or used. */
  constructor(private readonly options: JwtVerifierOptions) {
    const { hmacSecret, publicKeys = '' } = options
    if (hmacSecret !== undefined) this.add(hmacChecks(hmacSecret))
    for (const pem of splitPems(publicKeys)) this.add(publicKeyChecks(pem))
  }

  /** Never throws. */
  verify(token: string): Verified {
    const [, header, payload, signature] = (token.length <= MAX_TOKEN_BYTES && COMPACT_FORM.exec(token)) || []
    if (header === undefined || payload === undefined || signature === undefined)
      return { failure: 'invalid' }
    const signed = token.slice(0, header.length + 1 + payload.length)
    if (!this.checksFor(header).some((check) => check(signed, signature))) return { failure: 'invalid' }
    const claims = readObject(payload)
    if (claims === undefined) return { failure: 'invalid' }
    const failure = this.failureOf(claims)
    return failure === undefined ? { claims } : { failure }
  }

  private add(checks: ReadonlyMap<string, SignatureCheck>): void {
    for (const [algorithm, check] of checks) {
      this.checks.set(algorithm, [...(this.checks.get(algorithm) ?? []), check])
    }
  }

  /** By each of the keys that the header's algorithm is for; none where the header is not to be followed. */
  private checksFor(encoded: string): readonly SignatureCheck[] {
    if (this.lastHeader?.encoded === encoded) return this.lastHeader.checks
    const { alg, crit } = readObject(encoded) ?? {}
    // Nothing that a header may call critical is known here. RFC 7515 §4.1.11.
    const checks = typeof alg === 'string' && crit === undefined ? this.checks.get(alg) : undefined
    if (checks === undefined) return []
    this.lastHeader = { encoded, checks }
    return checks
  }

  private failureOf({ exp, nbf, aud, iss }: Claims): AuthFailure | undefined {
    if (!isDate(exp) || !isDate(nbf)) return 'invalid'
    const nowSeconds = Date.now() / 1_000
    if (exp !== undefined && nowSeconds >= exp) return 'expired'
    if (nbf !== undefined && nowSeconds < nbf) return 'not_yet_valid'
    const { audience, issuer } = this.options
    if (audience !== undefined && !isFor(aud, audience)) return 'invalid'
    return issuer === undefined || iss === issuer ? undefined : 'invalid'
  }
}

/** An object of JSON in base64url; undefined for anything else. */
function readObject(encoded: string): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Claims)
      : undefined
  } catch {
    return undefined
  }
}

/** Seconds since 1970, where there is one. */
function isDate(claim: unknown): claim is number | undefined {
  return claim === undefined || typeof claim === 'number'
}

/** `aud` is a text, or a list of texts. */
function isFor(aud: unknown, audience: string): boolean {
  return Array.isArray(aud)
    ? aud.every((one) => typeof one === 'string') && aud.includes(audience)
    : aud === audience
}
