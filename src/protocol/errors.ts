import { BrokerError } from './broker-error.js'

/** An error that a client or a caller of the server API receives. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'

  constructor(
    readonly code: number,
    message: string,
    /** Whether the same request may succeed later. */
    readonly temporary = false,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/**
 * Every error of the Centrifuge protocol, which the server API shares. docs/errors-and-closes.md has the same codes.
 */
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

const CODES: ReadonlySet<number> = new Set(Object.values(ERRORS).map(({ code }) => code))

/**
 * The label of an error in metrics. Codes that are not of the protocol may come from an application or another node, and
 * must not grow the registry without bound: they have one label together.
 */
export function codeLabel(code: number): number | 'other' {
  return CODES.has(code) ? code : 'other'
}

function creatorOf(name: keyof typeof ERRORS) {
  const { code, message, temporary } = ERRORS[name]
  return (why: string, options?: ErrorOptions) =>
    new ProtocolError(code, `${message}: ${why}`, temporary, options)
}

/** Creates each error with the reason in words: `<message>: <why>`. */
export const errors = {
  /**
   * A failure of the server. Temporary, unless the request may have taken effect: repeated, it might take effect twice.
   */
  internal: (why: string, temporary: boolean = ERRORS.internal.temporary, options?: ErrorOptions) =>
    new ProtocolError(ERRORS.internal.code, `${ERRORS.internal.message}: ${why}`, temporary, options),
  unauthorized: creatorOf('unauthorized'),
  unknownChannel: creatorOf('unknownChannel'),
  permissionDenied: creatorOf('permissionDenied'),
  methodNotFound: creatorOf('methodNotFound'),
  alreadySubscribed: creatorOf('alreadySubscribed'),
  limitExceeded: creatorOf('limitExceeded'),
  badRequest: creatorOf('badRequest'),
  notAvailable: creatorOf('notAvailable'),
  tokenExpired: creatorOf('tokenExpired'),
  expired: creatorOf('expired'),
  tooManyRequests: creatorOf('tooManyRequests'),
  unrecoverablePosition: creatorOf('unrecoverablePosition'),
}

/**
 * The error that a client or a caller of the server API receives for a thrown value. Anything but a ProtocolError or a
 * BrokerError is a defect: it is passed to `onDefect`, and its text stays on the server.
 */
export function toProtocolError(thrown: unknown, onDefect: (thrown: unknown) => void): ProtocolError {
  if (thrown instanceof ProtocolError) return thrown
  if (thrown instanceof BrokerError) {
    return errors.internal(thrown.message, thrown.reason !== 'timeout', { cause: thrown })
  }
  onDefect(thrown)
  return errors.internal('see the log of the node', undefined, { cause: thrown })
}
