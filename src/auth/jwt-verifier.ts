import type { AuthFailure } from './authenticator.js'
import type { RemoteKeys } from './remote-keys.js'
import { hmacChecks, publicKeyChecks, type SignatureCheck, splitPems } from './signatures.js'

/** The longest token that is looked at. */
export const MAX_TOKEN_BYTES = 8 * 1024
/** Header, payload and signature. Whoever decodes them leaves out what is not base64url, which is to be refused. */
const COMPACT_FORM = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/

export interface JwtVerifierOptions {
  /** Verifies HS256, HS384 and HS512. */
  readonly hmacSecret: string | undefined
  /** One or more PEMs, one behind the other; verify RS, ES and EdDSA. */
  readonly publicKeys: string | undefined
  /** Those of an issuer that publishes them; the same algorithms. */
  readonly remoteKeys: RemoteKeys | undefined
  /** What `aud` must be or hold. */
  readonly audience: string | undefined
  /** What `iss` must be. */
  readonly issuer: string | undefined
}

/** What the header of tokens says. */
interface Header {
  readonly encoded: string
  /** Of the remote keys that it was read with. */
  readonly version: unknown
  /** Any of them may be the right one; none where the header is not to be followed. */
  readonly checks: readonly SignatureCheck[]
  readonly algorithm: string | undefined
  readonly keyId: string | undefined
}

export type Claims = Readonly<Record<string, unknown>>

export type Verified =
  | { readonly claims: Claims; readonly failure?: undefined }
  | { readonly claims?: undefined; readonly failure: AuthFailure }

/**
 * Verifies JSON Web Tokens with configured keys, and those of a configured issuer: a token may say which of these it
 * is signed with (`kid`), and what else it says of keys is not looked at. RFC 7519 §7.2, RFC 8725 §3.1.
 *
 * A library for it took a quarter of what a connecting client costs a node, twice as much as the signature.
 */
export class JwtVerifier {
  /** By algorithm: each belongs to keys of one kind, so that whoever signs can't choose how a key is used. */
  private readonly checks = new Map<string, SignatureCheck[]>()
  /** Whoever issues tokens gives all of them one header: read once, it need not be decoded for each. */
  private lastHeader: Header | undefined

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
    const { checks, algorithm, keyId } = this.readHeader(header)
    if (!checks.some((check) => check(signed, signature))) {
      return { failure: this.failureWithout(algorithm, keyId, payload) }
    }
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

  private readHeader(encoded: string): Header {
    const { remoteKeys } = this.options
    const version = remoteKeys?.version
    if (this.lastHeader?.encoded === encoded && this.lastHeader.version === version) return this.lastHeader
    const { alg, kid, crit } = readObject(encoded) ?? {}
    const keyId = typeof kid === 'string' ? kid : undefined
    // Nothing that a header may call critical is known here. RFC 7515 §4.1.11.
    const algorithm = typeof alg === 'string' && crit === undefined ? alg : undefined
    const checks =
      algorithm === undefined
        ? []
        : [...(this.checks.get(algorithm) ?? []), ...(remoteKeys?.checksFor(algorithm, keyId) ?? [])]
    const header = { encoded, version, checks, algorithm, keyId }
    if (checks.length > 0) this.lastHeader = header
    return header
  }

  /** Why a token is not taken that none of the keys has signed. */
  private failureWithout(
    algorithm: string | undefined,
    keyId: string | undefined,
    payload: string,
  ): AuthFailure {
    const key = this.options.remoteKeys?.seek(algorithm, keyId) ?? 'wrong'
    if (key === 'wrong') return 'invalid'
    // Its client needs another one in any case, whoever signed it; a wait would not make it good.
    const { exp } = readObject(payload) ?? {}
    const isOver = typeof exp === 'number' && exp <= Date.now() / 1_000
    return key === 'retired' || isOver ? 'expired' : 'key_unknown'
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
