/** Why the server closes a connection: the code and the reason that the client receives. RFC 6455 §7.4. */
export interface Close {
  readonly code: number
  readonly reason: string
}

/** The longest reason: a close frame carries at most 125 bytes, two of them the code. RFC 6455 §5.5. */
export const MAX_REASON_BYTES = 123

/** Every close of raw and echo connections that Fanfare starts by itself; docs/errors-and-closes.md has them too. */
export const CLOSES = {
  goingAway: { code: 1001, reason: 'Going away' },
  heartbeatTimeout: { code: 1001, reason: 'Heartbeat timeout' },
  notJson: { code: 1003, reason: 'This channel takes JSON only' },
  publishingDenied: { code: 1008, reason: 'Publishing is not allowed in this channel' },
  messageTooBig: { code: 1009, reason: 'Message too big' },
  internalError: { code: 1011, reason: 'Internal error' },
  slowConsumer: { code: 3008, reason: 'Slow consumer' },
  unsubscribed: { code: 3503, reason: 'Unsubscribed by the server' },
} as const satisfies Record<string, Close>

/**
 * The disconnects of the Centrifuge protocol, whose clients decide by the code whether to reconnect: after 3000–3499 they
 * do, after 3500–3999 they do not; docs/errors-and-closes.md has them too.
 */
export const DISCONNECTS = {
  connectionClosed: { code: 3000, reason: 'connection closed' },
  shutdown: { code: 3001, reason: 'shutdown' },
  internalServerError: { code: 3004, reason: 'internal server error' },
  connectionExpired: { code: 3005, reason: 'connection expired' },
  subscriptionExpired: { code: 3006, reason: 'subscription expired' },
  slow: { code: 3008, reason: 'slow' },
  writeError: { code: 3009, reason: 'write error' },
  insufficientState: { code: 3010, reason: 'insufficient state' },
  forceReconnect: { code: 3011, reason: 'force reconnect' },
  noPong: { code: 3012, reason: 'no pong' },
  tooManyRequests: { code: 3013, reason: 'too many requests' },
  stateInvalidated: { code: 3014, reason: 'state invalidated' },
  invalidToken: { code: 3500, reason: 'invalid token' },
  badRequest: { code: 3501, reason: 'bad request' },
  stale: { code: 3502, reason: 'stale' },
  forceDisconnect: { code: 3503, reason: 'force disconnect' },
  connectionLimit: { code: 3504, reason: 'connection limit' },
  channelLimit: { code: 3505, reason: 'channel limit' },
  inappropriateProtocol: { code: 3506, reason: 'inappropriate protocol' },
  permissionDenied: { code: 3507, reason: 'permission denied' },
  notAvailable: { code: 3508, reason: 'not available' },
  tooManyErrors: { code: 3509, reason: 'too many errors' },
} as const satisfies Record<string, Close>

/** Why a subscription ends while its connection stays open. After 2500 and above the client subscribes again. */
export const UNSUBSCRIBES = {
  server: { code: 2000, reason: 'server unsubscribe' },
  insufficientState: { code: 2500, reason: 'insufficient state' },
  subscriptionExpired: { code: 2501, reason: 'subscription expired' },
  stateInvalidated: { code: 2502, reason: 'state invalidated' },
} as const satisfies Record<string, Close>

/** Thrown by a command to close the connection instead of replying. */
export class CloseConnection extends Error {
  override readonly name = 'CloseConnection'

  constructor(readonly close: Close) {
    super(close.reason)
  }
}

/** The code that uWebSockets.js reports when a connection ended without a close frame. RFC 6455 §7.1.5. */
export const ABNORMAL_CLOSE = 1006
