/** An error that a client or a caller of the server API sees. Codes are those of the Centrifuge protocol. */
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

/** The table of error codes. The README's table holds the same. */
export const ERROR_CODES = {
  internal: 100,
  unauthorized: 101,
  unknownChannel: 102,
  permissionDenied: 103,
  methodNotFound: 104,
  alreadySubscribed: 105,
  limitExceeded: 106,
  badRequest: 107,
  notAvailable: 108,
  tokenExpired: 109,
  expired: 110,
  tooManyRequests: 111,
  unrecoverablePosition: 112,
} as const

export const errors = {
  /** Something on this side. Temporary, unless it may have been done: then doing it again may do it twice. */
  internal: (why: string, temporary = true) =>
    new ProtocolError(ERROR_CODES.internal, `internal server error: ${why}`, temporary),
  unauthorized: (why: string) => new ProtocolError(ERROR_CODES.unauthorized, `unauthorized: ${why}`),
  unknownChannel: (why: string) => new ProtocolError(ERROR_CODES.unknownChannel, `unknown channel: ${why}`),
  permissionDenied: (why: string) =>
    new ProtocolError(ERROR_CODES.permissionDenied, `permission denied: ${why}`),
  methodNotFound: (why: string) => new ProtocolError(ERROR_CODES.methodNotFound, `method not found: ${why}`),
  alreadySubscribed: () => new ProtocolError(ERROR_CODES.alreadySubscribed, 'already subscribed'),
  limitExceeded: (why: string) => new ProtocolError(ERROR_CODES.limitExceeded, `limit exceeded: ${why}`),
  badRequest: (why: string) => new ProtocolError(ERROR_CODES.badRequest, `bad request: ${why}`),
  notAvailable: (why: string) => new ProtocolError(ERROR_CODES.notAvailable, `not available: ${why}`),
  tokenExpired: () => new ProtocolError(ERROR_CODES.tokenExpired, 'token expired'),
  expired: (why: string) => new ProtocolError(ERROR_CODES.expired, `expired: ${why}`),
  tooManyRequests: (why: string) =>
    new ProtocolError(ERROR_CODES.tooManyRequests, `too many requests: ${why}`, true),
  unrecoverablePosition: (why: string) =>
    new ProtocolError(ERROR_CODES.unrecoverablePosition, `unrecoverable position: ${why}`),
}
