import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  decodeEntry,
  decodeMessage,
  type Entry,
  encodeEntry,
  encodeMessage,
  MalformedMessage,
  plainEntry,
} from '../../src/redis/envelope.js'

const TIME_MS = 1_800_000_000_123.5
const INFO = { client: 'c-1', user: 'ann', connInfo: undefined, chanInfo: undefined }

function entry(part: Partial<Entry> = {}): Entry {
  const plain = {
    kind: 'publication',
    client: undefined,
    timeMs: TIME_MS,
    payload: Buffer.from('hello'),
  } as const
  return { ...plainEntry(plain), ...part }
}

function message(...entries: readonly Entry[]): Buffer {
  return encodeMessage(entries.map(encodeEntry))
}

/** A message as the scripts for streams make it. */
function streamMessage(epoch: string, offset: number, ...entries: readonly Entry[]): Buffer {
  const opening = Buffer.alloc(2 + epoch.length + 8)
  opening[0] = 1
  opening[1] = epoch.length
  opening.write(epoch, 2, 'latin1')
  opening.writeDoubleBE(offset, 2 + epoch.length)
  return Buffer.concat([opening, ...entries.map(encodeEntry)])
}

/** Entries with payloads as plain buffers. */
function plain(entries: readonly Entry[]): Entry[] {
  return entries.map((one) => ({ ...one, payload: Buffer.from(one.payload) }))
}

/** What a message comes back as; the class of the error where there is one. */
function decoded(bytes: Buffer): unknown {
  try {
    return plain(decodeMessage(bytes).entries)
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
    ['that is JSON', entry({ isJson: true, payload: Buffer.from('{"a":1}') })],
    ['with who published it', entry({ info: INFO })],
    ['with all that is known of them', entry({ info: { ...INFO, connInfo: '{"a":1}', chanInfo: '[]' } })],
    ['with tags', entry({ tags: { kind: 'Ån\n', '': '' } })],
    ['with no tag', entry({ tags: {} })],
    ['with everything', entry({ isBinary: true, isJson: true, client: 'ann', info: INFO, tags: { a: 'b' } })],
    ['with tags and nothing else', entry({ tags: { a: 'b' }, payload: Buffer.alloc(0) })],
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

describe('a position', () => {
  const entries = [entry(), entry({ client: 'ann' })]

  it('is that of the first entry', () => {
    const { position, entries: arrived } = decodeMessage(streamMessage('0a1b2c3d4e5f', 7, ...entries))
    expect(position).toEqual({ epoch: '0a1b2c3d4e5f', offset: 7 })
    expect(plain(arrived)).toEqual(entries)
  })

  it.each([1, 2 ** 32, Number.MAX_SAFE_INTEGER])('may have the offset %d', (offset) => {
    expect(decodeMessage(streamMessage('-', offset, entry())).position).toEqual({ epoch: '-', offset })
  })

  it('is not there where the entries are in no stream', () => {
    expect(decodeMessage(message(...entries)).position).toBeUndefined()
  })
})

describe('an entry that a stream keeps', () => {
  it('comes back as it went', () => {
    const one = entry({ client: 'ann', info: INFO, isJson: true })
    expect(plain([decodeEntry(encodeEntry(one))])).toEqual([one])
  })

  it.each([
    ['empty', Buffer.alloc(0)],
    ['cut short', encodeEntry(entry()).subarray(0, -1)],
    ['followed by something', Buffer.concat([encodeEntry(entry()), Buffer.of(0)])],
    ['a whole message', message(entry())],
  ])('is malformed when it is %s', (_, bytes) => expect(() => decodeEntry(bytes)).toThrow(MalformedMessage))
})

describe('a message is malformed', () => {
  const one = message(entry({ client: 'ann' }))
  const extras = (json: string) => {
    // Of the same length as what it takes the place of.
    const made = message(entry({ tags: { a: 'x'.repeat(Buffer.byteLength(json) - 17) } }))
    made.write(json, 2 + 4 + 10 + 4)
    return made
  }
  const changed = (offset: number, value: number) => {
    const copy = Buffer.from(one)
    copy[offset] = value
    return copy
  }

  it('but not when its extras are only put there by hand', () => {
    expect(decoded(extras('{"tags":{"kind":"x"}}'))).toEqual([entry({ tags: { kind: 'x' } })])
  })

  it.each([
    ['that is empty', Buffer.alloc(0)],
    ['of text', Buffer.from('{"event":"hello"}')],
    ['of another version', changed(0, 2)],
    ['of version 0', changed(0, 0)],
    ['of a version alone', one.subarray(0, 1)],
    ['without an entry', one.subarray(0, 2)],
    ['of kind 0', changed(6, 0)],
    ['of an unknown kind', changed(6, 5)],
    ['with an unknown flag', changed(7, 16)],
    ['with all flags', changed(7, 255)],
    ['whose client is longer than it', changed(16, 255)],
    ['whose entry is longer than it', changed(2, 255)],
    ['whose entry is shorter than its header', changed(5, 9)],
    ['with a byte behind it', Buffer.concat([one, Buffer.of(0)])],
    ['with a whole message behind it', Buffer.concat([one, one])],
    ['whose time is not a number', message(entry({ timeMs: Number.NaN }))],
    ['whose time is endless', message(entry({ timeMs: Number.POSITIVE_INFINITY }))],
    ['whose epoch is longer than it', changed(1, 255)],
    ['of a position alone', streamMessage('abc', 1)],
    ['whose epoch is not one', streamMessage('a\n', 1, entry())],
    ['whose offset is 0', streamMessage('abc', 0, entry())],
    ['whose offset is negative', streamMessage('abc', -1, entry())],
    ['whose offset is a fraction', streamMessage('abc', 1.5, entry())],
    ['whose offset is not a number', streamMessage('abc', Number.NaN, entry())],
    ['whose offset is too large to count', streamMessage('abc', 2 ** 53, entry())],
    ['whose extras are not JSON', extras('{"tags":{"a":"b"}]')],
    ['whose extras are null', extras('null              ')],
    ['whose extras are a list', extras('["info","tags"]    ')],
    ['whose extras are empty', extras('{}                 ')],
    ['whose extras have something else', extras('{"tags":{},"more":1}')],
    ['whose tags are a list', extras('{"tags":["one","two"]}')],
    ['whose tags have a number', extras('{"tags":{"kind":17}}')],
    ['whose info is null', extras('{"info":null,"tags":{}}')],
    ['whose info is nobody', extras('{"info":{"user":"ann"}}')],
    ['whose info has a wrong user', extras('{"info":{"client":"c","user":1}}')],
    ['whose info has more', extras('{"info":{"client":"c","user":"ann","more":""}}')],
    ['whose info has infos that are not text', extras('{"info":{"client":"c","user":"a","connInfo":{}}}')],
    ['whose extras are longer than it', message(entry({ tags: {} })).fill(255, 16, 20)],
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
      const expected = length === 2 + first.length ? [entry({ client: 'ann' })] : MalformedMessage
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
      look(Buffer.concat([Buffer.of(1, 0), part]))
      // A right length leads further into the decoder.
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      look(Buffer.concat([Buffer.of(1, 0), length, part]))
      look(Buffer.concat([Buffer.of(1), part]))
    }
    for (let offset = 0; offset < one.length; offset++) {
      for (let value = 0; value < 256; value++) look(changed(offset, value))
    }
    expect([...thrown]).toEqual([MalformedMessage])
  })
})
