import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  decodeMessage,
  type Entry,
  encodeEntry,
  encodeMessage,
  MalformedMessage,
} from '../../src/redis/envelope.js'

const TIME_MS = 1_800_000_000_123.5

function entry(part: Partial<Entry> = {}): Entry {
  return {
    kind: 'publication',
    isBinary: false,
    client: undefined,
    timeMs: TIME_MS,
    payload: Buffer.from('hello'),
    ...part,
  }
}

function message(...entries: readonly Entry[]): Buffer {
  return encodeMessage(entries.map(encodeEntry))
}

/** What a message comes back as, payloads as plain buffers; the class of the error where there is one. */
function decoded(bytes: Buffer): unknown {
  try {
    return decodeMessage(bytes).map((one) => ({ ...one, payload: Buffer.from(one.payload) }))
  } catch (error) {
    return error instanceof Error ? error.constructor : error
  }
}

describe('an entry comes back as it went', () => {
  it.each([
    ['with text', entry()],
    ['with bytes', entry({ isBinary: true, payload: Buffer.from([0, 255, 10, 13, 0]) })],
    ['that is empty', entry({ payload: Buffer.alloc(0) })],
    ['that is not UTF-8', entry({ isBinary: true, payload: Buffer.from([0xc3, 0x28, 0xff, 0xfe]) })],
    ['that is all newlines', entry({ payload: Buffer.from('\n\r\n\n') })],
    ['of 1 MiB', entry({ isBinary: true, payload: randomBytes(1024 ** 2) })],
    ['that looks like a message', entry({ payload: message(entry()) })],
    ['with a client', entry({ client: '3f0c6c1e-7a0e-4a53-9a55-6f8d1f0a7b11' })],
    ['with an empty client', entry({ client: '' })],
    ['with the longest client', entry({ client: 'x'.repeat(255) })],
    ['with a client and nothing else', entry({ client: 'ann', payload: Buffer.alloc(0) })],
    ['that is a join', entry({ kind: 'join', client: 'ann' })],
    ['that is a leave', entry({ kind: 'leave', client: 'ann' })],
    ['that is control', entry({ kind: 'control' })],
    ['from 1970', entry({ timeMs: 0 })],
  ])('%s', (_, one) => expect(decoded(message(one))).toEqual([one]))

  it('when it is a view into something larger', () => {
    const whole = Buffer.from('before-inside-after')
    const payload = new Uint8Array(whole.buffer, whole.byteOffset + 7, 6)
    expect(decoded(message(entry({ payload })))).toEqual([entry({ payload: Buffer.from('inside') })])
  })

  it('although what it was made of is overwritten later', () => {
    const payload = Buffer.from('first')
    const encoded = encodeEntry(entry({ payload }))
    payload.fill('x')
    expect(decoded(encodeMessage([encoded]))).toEqual([entry({ payload: Buffer.from('first') })])
  })

  it('behind others, in their order', () => {
    const entries = Array.from({ length: 1_000 }, (_, index) =>
      entry({
        kind: index % 3 === 0 ? 'join' : 'publication',
        isBinary: index % 2 === 0,
        client: index % 5 === 0 ? `client-${index}` : undefined,
        payload: Buffer.alloc(index % 7, index),
      }),
    )
    expect(decoded(message(...entries))).toEqual(entries)
  })
})

describe('a message is malformed', () => {
  const one = message(entry({ client: 'ann' }))
  const changed = (offset: number, value: number) => {
    const copy = Buffer.from(one)
    copy[offset] = value
    return copy
  }

  it.each([
    ['that is empty', Buffer.alloc(0)],
    ['of text', Buffer.from('{"event":"hello"}')],
    ['of another version', changed(0, 2)],
    ['of version 0', changed(0, 0)],
    ['without an entry', one.subarray(0, 1)],
    ['of kind 0', changed(5, 0)],
    ['of an unknown kind', changed(5, 5)],
    ['with an unknown flag', changed(6, 4)],
    ['with all flags', changed(6, 255)],
    ['whose client is longer than it', changed(15, 255)],
    ['whose entry is longer than it', changed(1, 255)],
    ['whose entry is shorter than its header', changed(4, 9)],
    ['with a byte behind it', Buffer.concat([one, Buffer.of(0)])],
    ['with a whole message behind it', Buffer.concat([one, one])],
    ['whose time is not a number', message(entry({ timeMs: Number.NaN }))],
    ['whose time is endless', message(entry({ timeMs: Number.POSITIVE_INFINITY }))],
    ['whose second entry is wrong', Buffer.concat([one, Buffer.from([0, 0, 0, 10, 9])])],
  ])('%s', (_, bytes) => expect(decoded(bytes)).toBe(MalformedMessage))

  it('when it is cut anywhere', () => {
    for (let length = 0; length < one.length; length++) {
      expect(decoded(one.subarray(0, length)), `${length} bytes`).toBe(MalformedMessage)
    }
  })

  it('when it is cut anywhere but between two entries, where nothing tells', () => {
    const first = encodeEntry(entry({ client: 'ann' }))
    const two = encodeMessage([first, encodeEntry(entry())])
    for (let length = 0; length < two.length; length++) {
      const expected = length === 1 + first.length ? [entry({ client: 'ann' })] : MalformedMessage
      expect(decoded(two.subarray(0, length)), `${length} bytes`).toEqual(expected)
    }
  })

  it('or well-formed, whatever bytes it has: nothing else is ever thrown', () => {
    const thrown = new Set<unknown>()
    const look = (bytes: Buffer) => {
      const result = decoded(bytes)
      if (!Array.isArray(result)) thrown.add(result)
    }
    const bytes = randomBytes(64 * 1024)
    for (let start = 0; start < bytes.length; start += 64) {
      const part = bytes.subarray(start, start + ((bytes[start] ?? 0) % 64) + 1)
      look(part)
      look(Buffer.concat([Buffer.of(1), part]))
      // A right length leads further into the decoder.
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      look(Buffer.concat([Buffer.of(1), length, part]))
    }
    for (let offset = 0; offset < one.length; offset++) {
      for (let value = 0; value < 256; value++) look(changed(offset, value))
    }
    expect([...thrown]).toEqual([MalformedMessage])
  })
})
