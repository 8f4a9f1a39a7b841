/** Why the server closes a connection: the code and the reason that the client sees. RFC 6455 §7.4. */
export interface Close {
  readonly code: number
  readonly reason: string
}

/** Every close that Fanfare starts by itself. The README's table holds the same. */
export const CLOSES = {
  goingAway: { code: 1001, reason: 'Going away' },
  heartbeatTimeout: { code: 1001, reason: 'Heartbeat timeout' },
  messageTooBig: { code: 1009, reason: 'Message too big' },
  internalError: { code: 1011, reason: 'Internal error' },
  slowConsumer: { code: 3008, reason: 'Slow consumer' },
} as const satisfies Record<string, Close>

/** What uWebSockets.js reports when a connection ended without a close frame. RFC 6455 §7.1.5. */
export const ABNORMAL_CLOSE = 1006
