import { createPublicKey, type KeyObject } from 'node:crypto'
import { type Algorithm, createVerifier, TokenError } from 'fast-jwt'
import type { AuthFailure } from './authenticator.js'

/** The longest token that is looked at. */
const MAX_TOKEN_BYTES = 8 * 1024
const HMAC_ALGORITHMS: Algorithm[] = ['HS256', 'HS384', 'HS512']
const RSA_ALGORITHMS: Algorithm[] = ['RS256', 'RS384', 'RS512']
const EC_ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
}

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

type Verify = (token: string) => unknown

/** Verifies JSON Web Tokens with configured keys only: what a token says of keys is not looked at. RFC 8725 §3.1. */
export class JwtVerifier {
  /** By algorithm: each belongs to keys of one kind, so that whoever signs can't choose how a key is used. */
  private readonly verifiers = new Map<string, Verify[]>()
  /** Whoever issues tokens gives all of them one header: read once, it need not be decoded for each. */
  private lastHeader = { encoded: '', algorithm: '' }

  /** Throws one line for a public key that can't be read or used. */
  constructor({ hmacSecret, publicKeys, audience, issuer }: JwtVerifierOptions) {
    const expected = {
      ...(audience !== undefined && { allowedAud: audience }),
      ...(issuer !== undefined && { allowedIss: issuer }),
      // The library lets a token pass that lacks a claim for which values are given.
      requiredClaims: [...(audience === undefined ? [] : ['aud']), ...(issuer === undefined ? [] : ['iss'])],
    }
    const add = (key: string, algorithms: Algorithm[]) => {
      for (const algorithm of algorithms) {
        const verify = createVerifier({ key, algorithms: [algorithm], ...expected }) as Verify
        this.verifiers.set(algorithm, [...(this.verifiers.get(algorithm) ?? []), verify])
      }
    }
    if (hmacSecret !== undefined) add(hmacSecret, HMAC_ALGORITHMS)
    for (const pem of splitPems(publicKeys ?? '')) add(pem, algorithmsOf(readPublicKey(pem)))
  }

  /** Never throws. */
  verify(token: string): Verified {
    if (token.length > MAX_TOKEN_BYTES) return { failure: 'invalid' }
    let failure: AuthFailure = 'invalid'
    for (const verify of this.verifiers.get(this.algorithmOf(token)) ?? []) {
      try {
        const claims = verify(token)
        if (typeof claims === 'object' && claims !== null) return { claims: claims as Claims }
      } catch (error) {
        failure = failureOf(error) ?? failure
      }
    }
    return { failure }
  }

  private algorithmOf(token: string): string {
    const { encoded, algorithm } = this.lastHeader
    if (encoded !== '' && token.startsWith(encoded) && token[encoded.length] === '.') return algorithm
    const header = token.slice(0, token.indexOf('.'))
    const named = readAlgorithm(header)
    if (this.verifiers.has(named)) this.lastHeader = { encoded: header, algorithm: named }
    return named
  }
}

/** The algorithm that a token's header names; empty where it names none. */
function readAlgorithm(encoded: string): string {
  try {
    const header = Buffer.from(encoded, 'base64url').toString()
    const { alg } = JSON.parse(header) as { alg?: unknown }
    return typeof alg === 'string' ? alg : ''
  } catch {
    return ''
  }
}

function failureOf(error: unknown): AuthFailure | undefined {
  const code = error instanceof TokenError ? error.code : undefined
  if (code === TokenError.codes.expired) return 'expired'
  if (code === TokenError.codes.inactive) return 'not_yet_valid'
  return undefined
}

/** The PEMs that stand one behind the other in a text. */
export function splitPems(text: string): string[] {
  return text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []
}

/** Throws one line for what is no public key. */
function readPublicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (error) {
    throw new Error(`a public key cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Throws one line for a kind of key that no algorithm here is for. */
function algorithmsOf(key: KeyObject): Algorithm[] {
  if (key.asymmetricKeyType === 'rsa') return RSA_ALGORITHMS
  if (key.asymmetricKeyType === 'ed25519') return ['EdDSA']
  const algorithm = EC_ALGORITHMS[key.asymmetricKeyDetails?.namedCurve ?? '']
  if (algorithm !== undefined) return [algorithm]
  throw new Error(
    `a public key is of the kind ${key.asymmetricKeyType}, use RSA, an EC curve of NIST, or Ed25519`,
  )
}
