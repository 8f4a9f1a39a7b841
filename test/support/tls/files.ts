import { fileURLToPath } from 'node:url'

/** The path of a certificate for `localhost` and 127.0.0.1. */
export const CERT_PATH = fileURLToPath(new URL('cert.pem', import.meta.url))

/** The path of its key. */
export const KEY_PATH = fileURLToPath(new URL('key.pem', import.meta.url))
