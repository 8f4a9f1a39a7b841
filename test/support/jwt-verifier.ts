import { JwtVerifier, type JwtVerifierOptions } from '../../src/auth/jwt-verifier.js'

/** A verifier without keys, audience and issuer, except for the given ones. */
export function jwtVerifier(options: Partial<JwtVerifierOptions> = {}): JwtVerifier {
  return new JwtVerifier({
    hmacSecret: undefined,
    publicKeys: undefined,
    remoteKeys: undefined,
    audience: undefined,
    issuer: undefined,
    ...options,
  })
}
