/** An error that a caller of the server API sees. Codes are those of the Centrifuge protocol. */
export class ProtocolError extends Error {
  constructor(
    readonly code: number,
    message: string,
    /** Whether the same request may succeed later. */
    readonly temporary = false,
  ) {
    super(message)
  }
}

/** The table of error codes that are in use. The README's table holds the same. */
export const ERROR_CODES = {
  internal: 100,
  unauthorized: 101,
  limitExceeded: 106,
  badRequest: 107,
} as const

export const errors = {
  /** Something on this side. Temporary, unless it may have been done: then doing it again may do it twice. */
  internal: (why: string, temporary = true) =>
    new ProtocolError(ERROR_CODES.internal, `internal server error: ${why}`, temporary),
  unauthorized: (why: string) => new ProtocolError(ERROR_CODES.unauthorized, `unauthorized: ${why}`),
  limitExceeded: (why: string) => new ProtocolError(ERROR_CODES.limitExceeded, `limit exceeded: ${why}`),
  badRequest: (why: string) => new ProtocolError(ERROR_CODES.badRequest, `bad request: ${why}`),
}
