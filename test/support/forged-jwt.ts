import { createHmac } from 'node:crypto'

export const SECRET = 'a secret that is long enough for HMAC with SHA-256'

export const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
export const unsigned = (claims: unknown, header: unknown) => `${encode(header)}.${encode(claims)}`

/** Signs whatever is given, as an attacker would: nothing is checked. */
export function hmac(
  claims: unknown,
  header: object = { alg: 'HS256' },
  key: string | Buffer = SECRET,
  hash = 'sha256',
) {
  const input = unsigned(claims, header)
  return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
}
