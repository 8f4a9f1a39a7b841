import { describe, expect, it } from 'vitest'
import {
  ABNORMAL_CLOSE,
  CLOSES,
  type Close,
  DISCONNECTS,
  MAX_REASON_BYTES,
  UNSUBSCRIBES,
} from '../../src/protocol/closes.js'
import { ERRORS, errors, ProtocolError } from '../../src/protocol/errors.js'

describe('the table of closes', () => {
  const closes: [string, Close][] = Object.entries(CLOSES)

  it('has the codes and reasons that clients rely on', () => {
    expect(CLOSES.goingAway).toEqual({ code: 1001, reason: 'Going away' })
    expect(CLOSES.heartbeatTimeout).toEqual({ code: 1001, reason: 'Heartbeat timeout' })
    expect(CLOSES.messageTooBig.code).toBe(1009)
    expect(CLOSES.internalError.code).toBe(1011)
    expect(CLOSES.slowConsumer.code).toBe(3008)
  })

  it.each([...closes, ...Object.entries(DISCONNECTS)])(
    'has for %s a code that close frames may have and a reason that fits',
    (_, { code, reason }) => {
      // RFC 6455 §7.4.1 reserves 1004, 1005, 1006 and 1015.
      expect([1004, 1005, ABNORMAL_CLOSE, 1015]).not.toContain(code)
      expect((code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999)).toBe(true)
      expect(Buffer.byteLength(reason)).toBeGreaterThan(0)
      expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(MAX_REASON_BYTES)
    },
  )

  it('gives every close a reason of its own', () => {
    expect(new Set(closes.map(([, { reason }]) => reason)).size).toBe(closes.length)
  })
})

/** The disconnects after which the client is to come back. */
const RECONNECTING = [
  'connectionClosed',
  'shutdown',
  'internalServerError',
  'connectionExpired',
  'subscriptionExpired',
  'slow',
  'writeError',
  'insufficientState',
  'forceReconnect',
  'noPong',
  'tooManyRequests',
  'stateInvalidated',
]

describe('the table of disconnects', () => {
  it.each(Object.entries(DISCONNECTS))(
    'has for %s a code that shows whether the client reconnects',
    (name, { code }) => {
      expect(RECONNECTING.includes(name)).toBe(code < 3500)
      expect(code).toBeLessThan(4000)
    },
  )

  it('gives every disconnect a code and a reason of its own', () => {
    const all = Object.values(DISCONNECTS)
    expect(new Set(all.map(({ code }) => code)).size).toBe(all.length)
    expect(new Set(all.map(({ reason }) => reason)).size).toBe(all.length)
  })

  it('has the unsubscribe codes that clients rely on: only 2000 is final', () => {
    expect(Object.values(UNSUBSCRIBES).map(({ code }) => code)).toEqual([2000, 2500, 2501, 2502])
  })
})

describe('the table of errors', () => {
  it('has the codes of the Centrifuge protocol', () => {
    const codes = Object.values(ERRORS).map(({ code }) => code)
    expect(codes).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112])
  })

  it.each(Object.keys(ERRORS) as (keyof typeof ERRORS)[])(
    'gives %s a message with the reason, and whether it is temporary',
    (name) => {
      const error = errors[name]('of this')
      expect(error).toBeInstanceOf(ProtocolError)
      expect(error.code).toBe(ERRORS[name].code)
      expect(error.message).toMatch(/: of this$/)
      expect(error.temporary).toBe(name === 'internal' || name === 'tooManyRequests')
    },
  )
})
