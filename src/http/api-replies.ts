import type { ProtocolError } from '../protocol/errors.js'

/** The reply to one call of the server API. */
export type ApiReply = { readonly result: unknown } | ReturnType<typeof errorReply>

/** The reply with an error. `temporary` is present only where it is true. */
export function errorReply({ code, message, temporary }: ProtocolError) {
  return { error: { code, message, ...(temporary && { temporary }) } }
}
