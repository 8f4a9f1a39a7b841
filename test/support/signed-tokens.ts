import { createSigner, type SignerOptions } from 'fast-jwt'

/** The shared secret of nodes whose clients have tokens of `sign`. */
export const SECRET = 'a secret that signs tokens, long enough'

/** Signs a connection or subscription token with SECRET, unless the options have another key. */
export function sign(claims: object, options: Partial<SignerOptions & { key: string }> = {}): string {
  return createSigner({ key: SECRET, algorithm: 'HS256', ...options })(claims)
}
