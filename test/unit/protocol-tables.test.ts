import { describe, expect, it } from 'vitest'
import { ABNORMAL_CLOSE, CLOSES, type Close } from '../../src/protocol/closes.js'
import { ERROR_CODES, errors, ProtocolError } from '../../src/protocol/errors.js'

describe('the table of closes', () => {
  const closes: [string, Close][] = Object.entries(CLOSES)

  it('says what clients rely on', () => {
    expect(CLOSES.goingAway).toEqual({ code: 1001, reason: 'Going away' })
    expect(CLOSES.heartbeatTimeout).toEqual({ code: 1001, reason: 'Heartbeat timeout' })
    expect(CLOSES.messageTooBig.code).toBe(1009)
    expect(CLOSES.internalError.code).toBe(1011)
    expect(CLOSES.slowConsumer.code).toBe(3008)
  })

  it.each(closes)('may send %s: its code is one for close frames, its reason fits', (_, { code, reason }) => {
    // RFC 6455 §7.4.1 reserves 1004, 1005, 1006 and 1015; a close frame holds 125 bytes, two of them the code.
    expect([1004, 1005, ABNORMAL_CLOSE, 1015]).not.toContain(code)
    expect((code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999)).toBe(true)
    expect(Buffer.byteLength(reason)).toBeGreaterThan(0)
    expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(123)
  })

  it('gives every close a reason of its own', () => {
    expect(new Set(closes.map(([, { reason }]) => reason)).size).toBe(closes.length)
  })
})

describe('the table of errors', () => {
  it('has the codes of the Centrifuge protocol', () => {
    expect(ERROR_CODES).toEqual({ internal: 100, unauthorized: 101, limitExceeded: 106, badRequest: 107 })
  })

  it.each(Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[])(
    'makes %s say why, and whether to try again',
    (name) => {
      const error = errors[name]('of this')
      expect(error).toBeInstanceOf(ProtocolError)
      expect(error.code).toBe(ERROR_CODES[name])
      expect(error.message).toMatch(/: of this$/)
      expect(error.temporary).toBe(name === 'internal')
    },
  )
})
