import {
  createHmac,
  createPublicKey,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
  verify,
} from 'node:crypto'

/** Whether a signature, in base64url, is that of a text. */
export type SignatureCheck = (signed: string, signature: string) => boolean

/** RFC 7518 §3.3. With less, signatures can be forged. */
const LEAST_RSA_BITS = 2_048
const LEAST_RSA_EXPONENT = 3n
const HASHES = { '256': 'sha256', '384': 'sha384', '512': 'sha512' } as const
const EC_ALGORITHMS: Readonly<Record<string, readonly [algorithm: string, hash: string]>> = {
  prime256v1: ['ES256', HASHES['256']],
  secp384r1: ['ES384', HASHES['384']],
  secp521r1: ['ES512', HASHES['512']],
}

/** HS256, HS384 and HS512, by name. RFC 7518 §3.2. Throws for an empty secret, with which anybody could sign. */
export function hmacChecks(secret: string): Map<string, SignatureCheck> {
  if (secret === '') throw new Error('the secret is empty')
  const key = createSecretKey(secret, 'utf8')
  const check =
    (hash: string): SignatureCheck =>
    (signed, signature) => {
      const expected = createHmac(hash, key).update(signed).digest('base64url')
      return (
        expected.length === signature.length && timingSafeEqual(Buffer.from(expected), Buffer.from(signature))
      )
    }
  return new Map(Object.entries(HASHES).map(([bits, hash]) => [`HS${bits}`, check(hash)]))
}

/** What a public key (PEM) is for, as `keyChecks` gives it. Throws one line for what is no public key, too. */
export function publicKeyChecks(pem: string): Map<string, SignatureCheck> {
  return keyChecks(readPublicKey(pem))
}

/**
 * What a public key is for, by name: RS256, RS384 and RS512, one of ES256, ES384 and ES512, or EdDSA. RFC 7518 §3.3 and
 * §3.4, RFC 8037 §3.1. Throws one line for a kind that nothing here is for.
 */
export function keyChecks(key: KeyObject): Map<string, SignatureCheck> {
  const check =
    (hash: string | null): SignatureCheck =>
    (signed, signature) => {
      const bytes = Buffer.from(signature, 'base64url')
      // Other texts are decoded to the same.
      if (bytes.toString('base64url') !== signature) return false
      return verify(hash, Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, bytes)
    }
  if (key.asymmetricKeyType === 'rsa') {
    const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
    if (modulusLength < LEAST_RSA_BITS || publicExponent < LEAST_RSA_EXPONENT) {
      throw new Error(
        `an RSA key has ${modulusLength} bits and the exponent ${publicExponent}; use ${LEAST_RSA_BITS} bits or more, and 65537`,
      )
    }
    return new Map(Object.entries(HASHES).map(([bits, hash]) => [`RS${bits}`, check(hash)]))
  }
  if (key.asymmetricKeyType === 'ed25519') return new Map([['EdDSA', check(null)]])
  const ec = EC_ALGORITHMS[key.asymmetricKeyDetails?.namedCurve ?? '']
  if (ec !== undefined) return new Map([[ec[0], check(ec[1])]])
  throw new Error(
    `a public key is of the kind ${key.asymmetricKeyType}, use RSA, an EC curve of NIST, or Ed25519`,
  )
}

/** The PEMs that stand one behind the other in a text. */
export function splitPems(text: string): string[] {
  return text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []
}

function readPublicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (error) {
    throw new Error(`a public key cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}
