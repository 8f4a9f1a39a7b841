import type { ProtocolError } from '../protocol/errors.js'

/** An error as the server API answers it. */
export function errorAnswer({ code, message, temporary }: ProtocolError) {
  return { error: { code, message, ...(temporary && { temporary }) } }
}
