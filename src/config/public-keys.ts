import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Kind } from './kinds.js'

/** Kinds of keys that JWTs may be verified with, and the curves of those that have one. */
const KINDS = ['rsa', 'ed25519', 'ec prime256v1', 'ec secp384r1', 'ec secp521r1']
/** RFC 7518 §3.3. */
const LEAST_RSA_BITS = 2_048
const PEM = /-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g

/** One or more public keys as PEM text: given as it is, or as the path of a file that is read once. */
export const publicKeys: Kind<string> = {
  unit: 'pem',
  expects: 'public keys (PEM), or the path of a file of them',
  read: (input) => {
    const { pems, problem } = readKeys(input)
    return problem === undefined ? pems.join('\n') : undefined
  },
  problem: (input) => readKeys(input).problem,
  show: (pems) => `${pems.match(PEM)?.length ?? 0} public keys`,
}

function readKeys(input: unknown): { pems: readonly string[]; problem?: string } {
  if (typeof input !== 'string') return { pems: [], problem: `must be ${publicKeys.expects}` }
  let text = input
  if (!input.includes('-----BEGIN')) {
    try {
      text = readFileSync(input, 'utf8')
    } catch (error) {
      const why = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
      return { pems: [], problem: `cannot read ${input} (${why})` }
    }
  }
  // An environment variable may hold it on one line.
  const pems = text.replaceAll('\\n', '\n').match(PEM) ?? []
  if (pems.length === 0) return { pems, problem: 'holds no PEM' }
  const [wrong] = pems.map(problemOf).filter((problem) => problem !== undefined)
  return wrong === undefined ? { pems } : { pems, problem: wrong }
}

function problemOf(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY')) return 'holds a private key; nodes only need the public one'
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey(pem)
    const kind = [asymmetricKeyType, asymmetricKeyDetails?.namedCurve].filter(Boolean).join(' ')
    const { modulusLength: bits = LEAST_RSA_BITS } = asymmetricKeyDetails ?? {}
    if (bits < LEAST_RSA_BITS)
      return `holds an RSA key of ${bits} bits, which can be broken; use ${LEAST_RSA_BITS} or more`
    if (KINDS.includes(kind)) return undefined
    return `holds a key of the kind ${kind}; use RSA, EC (P-256, P-384, P-521) or Ed25519`
  } catch {
    return 'holds a PEM that is no public key'
  }
}
