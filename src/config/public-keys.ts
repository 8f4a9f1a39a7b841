import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { MIN_RSA_BITS, splitPems } from '../auth/signatures.js'
import type { Kind } from './kinds.js'
import { unreadableFile } from './unreadable-file.js'

/** The kinds of keys that JWTs can be verified with, EC with its curve. */
const KINDS = ['rsa', 'ed25519', 'ec prime256v1', 'ec secp384r1', 'ec secp521r1']

/** One or more public keys as PEM text. The setting is that text, or the path of a file with it, which is read once. */
export const publicKeys: Kind<string> = {
  unit: 'pem',
  expects: 'public keys (PEM), or the path of a file of them',
  read: (input) => {
    const { pems, problem } = readKeys(input)
    return problem === undefined ? pems.join('\n') : undefined
  },
  problem: (input) => readKeys(input).problem,
  show: (pems) => `${splitPems(pems).length} public keys`,
}

/** Reads the PEMs of a setting. `problem` is the first thing wrong with them, undefined if they can all be used. */
function readKeys(input: unknown): { pems: readonly string[]; problem?: string } {
  if (typeof input !== 'string') return { pems: [], problem: `must be ${publicKeys.expects}` }
  let text = input
  if (!input.includes('-----BEGIN')) {
    try {
      text = readFileSync(input, 'utf8')
    } catch (error) {
      return { pems: [], problem: unreadableFile(input, error) }
    }
  }
  // An environment variable may have the PEM on one line, its line breaks written as \n.
  const pems = splitPems(text.replaceAll('\\n', '\n'))
  if (pems.length === 0) return { pems, problem: 'holds no PEM' }
  const [problem] = pems.map(pemProblem).filter((found) => found !== undefined)
  return problem === undefined ? { pems } : { pems, problem }
}

/** Undefined if JWTs can be verified with the key. */
function pemProblem(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY')) return 'holds a private key; nodes only need the public one'
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey(pem)
    const kind = [asymmetricKeyType, asymmetricKeyDetails?.namedCurve].filter(Boolean).join(' ')
    const { modulusLength: bits = MIN_RSA_BITS } = asymmetricKeyDetails ?? {}
    if (bits < MIN_RSA_BITS) {
      return `holds an RSA key of ${bits} bits, which can be broken; use ${MIN_RSA_BITS} or more`
    }
    if (KINDS.includes(kind)) return undefined
    return `holds a key of the kind ${kind}; use RSA, EC (P-256, P-384, P-521) or Ed25519`
  } catch {
    return 'holds a PEM that is no public key'
  }
}
