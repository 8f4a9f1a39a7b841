import {
  createHmac,
  createPublicKey,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import { errorMessage } from '../error-message.js'

/** Whether a signature (base64url) is a valid one of the signed text. */
export type SignatureCheck = (signed: string, signature: string) => boolean

/** RFC 7518 §3.3. Signatures of a shorter key can be forged. */
export const MIN_RSA_BITS = 2_048
const MIN_RSA_EXPONENT = 3n
const HASHES = { '256': 'sha256', '384': 'sha384', '512': 'sha512' } as const
const EC_ALGORITHMS: Readonly<Record<string, readonly [algorithm: string, hash: string]>> = {
  prime256v1: ['ES256', HASHES['256']],
  secp384r1: ['ES384', HASHES['384']],
  secp521r1: ['ES512', HASHES['512']],
}

/**
 * The checks of a shared secret, by algorithm: HS256, HS384 and HS512. RFC 7518 §3.2. Throws an Error for an empty
 * secret, since every client could sign with it.
 */
export function hmacChecks(secret: string): Map<string, SignatureCheck> {
  if (secret === '') throw new Error('the secret is empty')
  const key = createSecretKey(secret, 'utf8')
  const checkWith =
    (hash: string): SignatureCheck =>
    (signed, signature) => {
      const expected = createHmac(hash, key).update(signed).digest('base64url')
      return (
        expected.length === signature.length && timingSafeEqual(Buffer.from(expected), Buffer.from(signature))
      )
    }
  return new Map(Object.entries(HASHES).map(([bits, hash]) => [`HS${bits}`, checkWith(hash)]))
}

/** Like `keyChecks`, of a public key as PEM. Also throws an Error of one line when the PEM is no public key. */
export function publicKeyChecks(pem: string): Map<string, SignatureCheck> {
  return keyChecks(readPublicKey(pem))
}

/**
 * The checks of a public key, by algorithm: RS256, RS384 and RS512 for an RSA key, ES256, ES384 or ES512 for an EC key,
 * EdDSA for Ed25519. RFC 7518 §3.3 and §3.4, RFC 8037 §3.1. Throws an Error of one line for another kind of key.
 */
export function keyChecks(key: KeyObject): Map<string, SignatureCheck> {
  const checkWith =
    (hash: string | null): SignatureCheck =>
    (signed, signature) => {
      const bytes = Buffer.from(signature, 'base64url')
      // Several texts decode to the same bytes; only the canonical one is a signature.
      if (bytes.toString('base64url') !== signature) return false
      return verify(hash, Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, bytes)
    }
  if (key.asymmetricKeyType === 'rsa') {
    const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
    if (modulusLength < MIN_RSA_BITS || publicExponent < MIN_RSA_EXPONENT) {
      throw new Error(
        `an RSA key has ${modulusLength} bits and the exponent ${publicExponent}; use ${MIN_RSA_BITS} bits or more, and 65537`,
      )
    }
    return new Map(Object.entries(HASHES).map(([bits, hash]) => [`RS${bits}`, checkWith(hash)]))
  }
  if (key.asymmetricKeyType === 'ed25519') return new Map([['EdDSA', checkWith(null)]])
  const ec = EC_ALGORITHMS[key.asymmetricKeyDetails?.namedCurve ?? '']
  if (ec !== undefined) return new Map([[ec[0], checkWith(ec[1])]])
  throw new Error(
    `a public key is of the kind ${key.asymmetricKeyType}, use RSA, an EC curve of NIST, or Ed25519`,
  )
}

/** The PEMs of a text, in their order. */
export function splitPems(text: string): string[] {
  return text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []
}

function readPublicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (error) {
    const why = errorMessage(error)
    throw new Error(`a public key cannot be read: ${why}`, { cause: error })
  }
}
