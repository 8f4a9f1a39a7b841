/** Why the server closes a connection: the code and the reason that the client sees. RFC 6455 §7.4. */
export interface Close {
  readonly code: number
  readonly reason: string
}

/** Closes of plain WebSocket connections that Fanfare starts by itself. The README's table holds the same. */
export const CLOSES = {
  goingAway: { code: 1001, reason: 'Going away' },
  heartbeatTimeout: { code: 1001, reason: 'Heartbeat timeout' },
  messageTooBig: { code: 1009, reason: 'Message too big' },
  internalError: { code: 1011, reason: 'Internal error' },
  slowConsumer: { code: 3008, reason: 'Slow consumer' },
} as const satisfies Record<string, Close>

/** What uWebSockets.js reports when a connection ended without a close frame. RFC 6455 §7.1.5. */
export const ABNORMAL_CLOSE = 1006

/** Closes of the Centrifuge protocol. Clients come back after codes below 3500. The README's table holds the same. */
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

/** Thrown to end a connection instead of answering. */
export class Disconnect extends Error {
  constructor(readonly close: Close) {
    super(close.reason)
  }
}

/** Why the server ends a subscription. Clients subscribe again after codes of 2500 and above. */
export const UNSUBSCRIBES = {
  server: { code: 2000, reason: 'unsubscribed by the server' },
  insufficientState: { code: 2500, reason: 'insufficient state' },
  subscriptionExpired: { code: 2501, reason: 'subscription expired' },
  stateInvalidated: { code: 2502, reason: 'state invalidated' },
} as const satisfies Record<string, Close>
