/** An error that a client or a caller of the server API sees. */
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

/** Every error of the Centrifuge protocol, which the server API shares. The README's table holds the same codes. */
export const ERRORS = {
  internal: { code: 100, message: 'internal server error', temporary: true },
  unauthorized: { code: 101, message: 'unauthorized', temporary: false },
  unknownChannel: { code: 102, message: 'unknown channel', temporary: false },
  permissionDenied: { code: 103, message: 'permission denied', temporary: false },
  methodNotFound: { code: 104, message: 'method not found', temporary: false },
  alreadySubscribed: { code: 105, message: 'already subscribed', temporary: false },
  limitExceeded: { code: 106, message: 'limit exceeded', temporary: false },
  badRequest: { code: 107, message: 'bad request', temporary: false },
  notAvailable: { code: 108, message: 'not available', temporary: false },
  tokenExpired: { code: 109, message: 'token expired', temporary: false },
  expired: { code: 110, message: 'expired', temporary: false },
  tooManyRequests: { code: 111, message: 'too many requests', temporary: true },
  unrecoverablePosition: { code: 112, message: 'unrecoverable position', temporary: false },
} as const

function make(name: keyof typeof ERRORS) {
  const { code, message, temporary } = ERRORS[name]
  return (why: string) => new ProtocolError(code, `${message}: ${why}`, temporary)
}

/** Makes each error with what it is about: `<message>: <why>`. */
export const errors = {
  /** Something on this side. Temporary, unless it may have been done: then doing it again may do it twice. */
  internal: (why: string, temporary: boolean = ERRORS.internal.temporary) =>
    new ProtocolError(ERRORS.internal.code, `${ERRORS.internal.message}: ${why}`, temporary),
  unauthorized: make('unauthorized'),
  unknownChannel: make('unknownChannel'),
  permissionDenied: make('permissionDenied'),
  methodNotFound: make('methodNotFound'),
  alreadySubscribed: make('alreadySubscribed'),
  limitExceeded: make('limitExceeded'),
  badRequest: make('badRequest'),
  notAvailable: make('notAvailable'),
  tokenExpired: make('tokenExpired'),
  expired: make('expired'),
  tooManyRequests: make('tooManyRequests'),
  unrecoverablePosition: make('unrecoverablePosition'),
}
