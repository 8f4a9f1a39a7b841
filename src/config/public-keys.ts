import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Kind } from './kinds.js'

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
    const { asymmetricKeyType = '' } = createPublicKey(pem)
    if (['rsa', 'ec', 'ed25519'].includes(asymmetricKeyType)) return undefined
    return `holds a key of the kind ${asymmetricKeyType}; use RSA, EC or Ed25519`
  } catch {
    return 'holds a PEM that is no public key'
  }
}
