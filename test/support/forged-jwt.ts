import { createHmac } from 'node:crypto'

export const SECRET = 'a secret that is long enough for HMAC with SHA-256'

export const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
export const unsigned = (claims: unknown, header: unknown) => `${encode(header)}.${encode(claims)}`

/** Signs any claims and header without a check, as an attacker would. */
export function hmac(
  claims: unknown,
  header: unknown = { alg: 'HS256' },
  key: string | Buffer = SECRET,
  hash = 'sha256',
): string {
  return hmacOfPayload(JSON.stringify(claims), header, key, hash)
}

/** The same for the text of a payload, which need not be JSON. */
export function hmacOfPayload(
  payload: string,
  header: unknown = { alg: 'HS256' },
  key: string | Buffer = SECRET,
  hash = 'sha256',
): string {
  const input = `${encode(header)}.${Buffer.from(payload).toString('base64url')}`
  return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
}
