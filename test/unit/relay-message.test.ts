import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { PresenceEvent, Publication } from '../../src/protocol/publication.js'
import {
  type ControlEvent,
  decodeMessage,
  decodeStreamEntry,
  encodeEntry,
  encodeMessage,
  MalformedMessage,
  type RelayEvent,
} from '../../src/redis/relay-message.js'
import { clientInfo, publication as publicationOf } from '../contract/publications.js'
import { relayEntry } from '../support/relay-entry.js'

const TIME_MS = 1_800_000_000_123.5
const INFO = clientInfo('c-1', 'ann')

function publication(part: Partial<Publication> = {}): Publication {
  return publicationOf('hello', { publishedAtMs: TIME_MS, ...part })
}

function presenceEvent(part: Partial<PresenceEvent> = {}): PresenceEvent {
  return { type: 'join', info: INFO, online: undefined, ...part }
}

const CONTROL: ControlEvent = { type: 'control', payload: Buffer.from('{}') }

function message(...events: readonly RelayEvent[]): Buffer {
  return encodeMessage(events.map(encodeEntry))
}

/** A message in the form in which the Lua scripts relay publications of a stream. */
function streamMessage(epoch: string, offset: number, ...events: readonly RelayEvent[]): Buffer {
  const header = Buffer.alloc(2 + epoch.length + 8)
  header[0] = 1
  header[1] = epoch.length
  header.write(epoch, 2, 'latin1')
  header.writeDoubleBE(offset, 2 + epoch.length)
  return Buffer.concat([header, ...events.map(encodeEntry)])
}

function withByte(bytes: Buffer, offset: number, value: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[offset] = value
  return copy
}

/** The same events with their bytes in plain buffers. */
function plain(events: readonly RelayEvent[]): RelayEvent[] {
  return events.map((event) => {
    if (event.type === 'publication') return { ...event, data: Buffer.from(event.data) }
    return event.type === 'control' ? { ...event, payload: Buffer.from(event.payload) } : event
  })
}

/** The events of a message, or the class of the error that decoding it throws. */
function decoded(bytes: Buffer): unknown {
  try {
    return plain(decodeMessage(bytes))
  } catch (error) {
    return error instanceof Error ? error.constructor : error
  }
}

describe('an event is decoded as it was encoded', () => {
  it.each([
    ['with text', publication()],
    ['with bytes', publication({ isBinary: true, data: Buffer.from([0, 255, 10, 13, 0]) })],
    ['that is empty', publication({ data: Buffer.alloc(0) })],
    ['that is not UTF-8', publication({ isBinary: true, data: Buffer.from([0xc3, 0x28, 0xff, 0xfe]) })],
    ['that consists of newlines', publication({ data: Buffer.from('\n\r\n\n') })],
    ['of 1 MiB', publication({ isBinary: true, data: randomBytes(1024 ** 2) })],
    ['that looks like a message', publication({ data: message(publication()) })],
    ['with a client', publication({ excludedClient: '3f0c6c1e-7a0e-4a53-9a55-6f8d1f0a7b11' })],
    ['with an empty client', publication({ excludedClient: '' })],
    ['with the longest client', publication({ excludedClient: 'x'.repeat(255) })],
    ['with a client and nothing else', publication({ excludedClient: 'ann', data: Buffer.alloc(0) })],
    ['that is a join', presenceEvent()],
    ['that is a leave', presenceEvent({ type: 'leave', online: 17 })],
    ['that is a join with infos', presenceEvent({ info: { ...INFO, connInfo: '{"a":1}', chanInfo: '[]' } })],
    ['that is a control event', CONTROL],
    ['from 1970', publication({ publishedAtMs: 0 })],
    ['that is JSON', publication({ isJson: true, data: Buffer.from('{"a":1}') })],
    ['with the info of its publisher', publication({ info: INFO })],
    [
      'with connInfo and chanInfo of its publisher',
      publication({ info: { ...INFO, connInfo: '{"a":1}', chanInfo: '[]' } }),
    ],
    ['with tags', publication({ tags: { kind: 'Ån\n', '': '' } })],
    ['with an empty set of tags', publication({ tags: {} })],
    [
      'with everything',
      publication({ isBinary: true, isJson: true, excludedClient: 'ann', info: INFO, tags: { a: 'b' } }),
    ],
    ['with tags and nothing else', publication({ tags: { a: 'b' }, data: Buffer.alloc(0) })],
  ])('%s', (_, one) => expect(decoded(message(one))).toEqual([one]))

  it('when its data is a view of a larger buffer', () => {
    const whole = Buffer.from('before-inside-after')
    const data = new Uint8Array(whole.buffer, whole.byteOffset + 7, 6)
    expect(decoded(message(publication({ data })))).toEqual([publication({ data: Buffer.from('inside') })])
  })

  it('although its buffer is overwritten later', () => {
    const data = Buffer.from('first')
    const encoded = encodeEntry(publication({ data }))
    data.fill('x')
    expect(decoded(encodeMessage([encoded]))).toEqual([publication({ data: Buffer.from('first') })])
  })

  it('with others in one message, in order', () => {
    const entries = Array.from({ length: 1_000 }, (_, index) =>
      index % 3 === 0
        ? presenceEvent({ online: index })
        : publication({
            isBinary: index % 2 === 0,
            excludedClient: index % 5 === 0 ? `client-${index}` : undefined,
            data: Buffer.alloc(index % 7, index),
          }),
    )
    expect(decoded(message(...entries))).toEqual(entries)
  })
})

describe('a position', () => {
  const entries = [publication(), publication({ excludedClient: 'ann' })]

  it('belongs to the first entry, and its offset counts up with each further entry', () => {
    const arrived = plain(decodeMessage(streamMessage('0a1b2c3d4e5f', 7, ...entries)))
    expect(arrived).toEqual(
      entries.map((one, index) => ({ ...one, position: { epoch: '0a1b2c3d4e5f', offset: 7 + index } })),
    )
  })

  it.each([1, 2 ** 32, Number.MAX_SAFE_INTEGER])('may have the offset %d', (offset) => {
    const [one] = decodeMessage(streamMessage('-', offset, publication()))
    expect(one).toMatchObject({ position: { epoch: '-', offset } })
  })

  it('is undefined for entries without a stream', () => {
    for (const one of decodeMessage(message(...entries))) expect(one).toMatchObject({ position: undefined })
  })
})

describe('a stream entry', () => {
  const POSITION = { epoch: 'abc', offset: 3 }

  it('is decoded as it was encoded', () => {
    const one = publication({ excludedClient: 'ann', info: INFO, isJson: true })
    expect(plain([decodeStreamEntry(encodeEntry(one), POSITION)])).toEqual([{ ...one, position: POSITION }])
  })

  it.each([
    ['empty', Buffer.alloc(0)],
    ['cut short', encodeEntry(publication()).subarray(0, -1)],
    ['followed by a byte', Buffer.concat([encodeEntry(publication()), Buffer.of(0)])],
    ['a whole message', message(publication())],
    ['a join', encodeEntry(presenceEvent())],
    ['of kind 0', withByte(encodeEntry(publication()), 4, 0)],
  ])('is malformed when it is %s', (_, bytes) =>
    expect(() => decodeStreamEntry(bytes, POSITION)).toThrow(MalformedMessage),
  )
})

it('decoding skips joins and leaves that are not watched, without parsing them', () => {
  const unreadable = relayEntry({ kind: 'leave', client: 'ann', payload: '{' })
  const bytes = encodeMessage([encodeEntry(presenceEvent()), unreadable, encodeEntry(publication())])
  expect(plain(decodeMessage(bytes, (type) => type === 'join'))).toEqual([presenceEvent(), publication()])
})

/** A message with a publication whose extras are this text. */
function messageWithExtras(json: string): Buffer {
  // The text replaces a placeholder of its length.
  const encoded = message(publication({ tags: { a: 'x'.repeat(Buffer.byteLength(json) - 17) } }))
  encoded.write(json, 2 + 4 + 10 + 4)
  return encoded
}

describe('what only a later version knows', () => {
  const KIND = 4
  const FLAGS = 5
  const POSITION = { epoch: 'abc', offset: 3 }
  const known = publication({ excludedClient: 'ann' })
  const ofKind = (kind: number) => withByte(encodeEntry(known), KIND, kind)
  const unknown = publication({ data: Buffer.alloc(0), publishedAtMs: 0, isUnknown: true })

  it.each([5, 6, 128, 255])(
    'is an entry of kind %i, which leaves the others of its message as they are',
    (kind) => {
      const bytes = encodeMessage([encodeEntry(known), ofKind(kind), encodeEntry(publication())])
      expect(decoded(bytes)).toEqual([known, unknown, publication()])
    },
  )

  it('is an entry of such a kind of which nothing but the length, the kind and the flags are known', () => {
    const entry = Buffer.concat([Buffer.from([0, 0, 0, 12, 77, 255]), Buffer.alloc(10, 255)])
    expect(decoded(encodeMessage([entry, encodeEntry(known)]))).toEqual([unknown, known])
  })

  it('takes its offset in a stream', () => {
    const header = streamMessage('abc', 7, known).subarray(0, 2 + 3 + 8)
    const bytes = Buffer.concat([header, ofKind(5), encodeEntry(known)])
    const at = (offset: number) => ({ position: { epoch: 'abc', offset } })
    expect(decoded(bytes)).toEqual([
      { ...unknown, ...at(7) },
      { ...known, ...at(8) },
    ])
    expect(plain([decodeStreamEntry(ofKind(5), POSITION)])).toEqual([{ ...unknown, position: POSITION }])
  })

  it('is missing in a stream if its kind is one that must not be missed', () => {
    const header = streamMessage('abc', 7, known).subarray(0, 2 + 3 + 8)
    const bytes = Buffer.concat([header, ofKind(128), encodeEntry(known)])
    expect(decoded(bytes)).toEqual([unknown, { ...known, position: { epoch: 'abc', offset: 8 } }])
    expect(() => decodeStreamEntry(ofKind(128), POSITION)).toThrow(MalformedMessage)
    expect(decodeStreamEntry(ofKind(127), POSITION).isUnknown).toBe(true)
  })

  it.each([16, 32, 64, 128, 240])('is the flag %i, with which the entry is read as without it', (flag) => {
    const everything = publication({ isBinary: true, isJson: true, excludedClient: 'ann', tags: { a: 'b' } })
    for (const one of [known, everything, publication(), presenceEvent(), CONTROL]) {
      const entry = encodeEntry(one)
      expect(decoded(encodeMessage([withByte(entry, FLAGS, (entry[FLAGS] ?? 0) | flag)]))).toEqual([one])
    }
  })

  it.each([
    ['of the extras', '{"more":{"a":[1]},"tags":{"a":"b"}}', { tags: { a: 'b' } }],
    ['of the extras that have no other', '{"more":"something else"}', {}],
    ['of the info', '{"info":{"client":"c","user":"ann","more":""}}', { info: clientInfo('c', 'ann') }],
  ])('is a member %s', (_, json, part) =>
    expect(decoded(messageWithExtras(json))).toEqual([publication(part)]),
  )

  it('is a member of a join', () => {
    const payload = '{"user":"ann","more":[1]}'
    expect(decoded(encodeMessage([relayEntry({ kind: 'join', client: 'c-1', payload })]))).toEqual([
      presenceEvent(),
    ])
  })
})

describe('a message is malformed', () => {
  const one = message(publication({ excludedClient: 'ann' }))
  const extras = messageWithExtras
  const changed = (offset: number, value: number) => withByte(one, offset, value)

  it('unless its extras are valid', () => {
    expect(decoded(extras('{"tags":{"kind":"x"}}'))).toEqual([publication({ tags: { kind: 'x' } })])
  })

  it.each([
    ['that is empty', Buffer.alloc(0)],
    ['of text', Buffer.from('{"event":"hello"}')],
    ['of another version', changed(0, 2)],
    ['of version 0', changed(0, 0)],
    ['of a version alone', one.subarray(0, 1)],
    ['without an entry', one.subarray(0, 2)],
    ['of kind 0', changed(6, 0)],
    ['with all flags, although its bytes have no room for what they announce', changed(7, 255)],
    ['whose client is longer than it', changed(16, 255)],
    ['whose entry is longer than it', changed(2, 255)],
    ['whose entry is shorter than its header', changed(5, 9)],
    ['followed by a byte', Buffer.concat([one, Buffer.of(0)])],
    ['followed by a whole message', Buffer.concat([one, one])],
    ['whose time is not a number', message(publication({ publishedAtMs: Number.NaN }))],
    ['whose time is infinite', message(publication({ publishedAtMs: Number.POSITIVE_INFINITY }))],
    ['whose epoch is longer than it', changed(1, 255)],
    ['of a position alone', streamMessage('abc', 1)],
    ['whose epoch has a control character', streamMessage('a\n', 1, publication())],
    ['whose offset is 0', streamMessage('abc', 0, publication())],
    ['whose offset is negative', streamMessage('abc', -1, publication())],
    ['whose offset is a fraction', streamMessage('abc', 1.5, publication())],
    ['whose offset is not a number', streamMessage('abc', Number.NaN, publication())],
    ['whose offset is above the largest safe integer', streamMessage('abc', 2 ** 53, publication())],
    ['whose extras are not JSON', extras('{"tags":{"a":"b"}]')],
    ['whose extras are null', extras('null              ')],
    ['whose extras are a list', extras('["info","tags"]    ')],
    ['whose tags are a list', extras('{"tags":["one","two"]}')],
    ['with a tag that is a number', extras('{"tags":{"kind":17}}')],
    ['whose info is null', extras('{"info":null,"tags":{}}')],
    ['whose info has no client', extras('{"info":{"user":"ann"}}')],
    ['whose info has a wrong user', extras('{"info":{"client":"c","user":1}}')],
    ['whose connInfo is not text', extras('{"info":{"client":"c","user":"a","connInfo":{}}}')],
    ['whose extras are longer than it', message(publication({ tags: {} })).fill(255, 16, 20)],
    ['of a join without a client', encodeMessage([relayEntry({ kind: 'join', payload: '{"user":"a"}' })])],
    ['of a join that is not JSON', encodeMessage([relayEntry({ kind: 'join', client: 'a', payload: '{' })])],
    ['of a join in a stream', streamMessage('abc', 1, presenceEvent())],
    ['of a control event in a stream', streamMessage('abc', 1, CONTROL)],
    ['whose second entry is wrong', Buffer.concat([one, Buffer.from([0, 0, 0, 10, 9])])],
  ])('%s', (_, bytes) => expect(decoded(bytes)).toBe(MalformedMessage))

  it('when it is truncated at any byte', () => {
    for (let length = 0; length < one.length; length++) {
      expect(decoded(one.subarray(0, length)), `${length} bytes`).toBe(MalformedMessage)
    }
  })

  it('when it is truncated at any byte but between two entries, where it is a shorter message', () => {
    const first = encodeEntry(publication({ excludedClient: 'ann' }))
    const two = encodeMessage([first, encodeEntry(publication())])
    for (let length = 0; length < two.length; length++) {
      const expected =
        length === 2 + first.length ? [publication({ excludedClient: 'ann' })] : MalformedMessage
      expect(decoded(two.subarray(0, length)), `${length} bytes`).toEqual(expected)
    }
  })

  it('or decoded, whatever its bytes: no other error is thrown', () => {
    const thrown = new Set<unknown>()
    const tryToDecode = (bytes: Buffer) => {
      const result = decoded(bytes)
      if (!Array.isArray(result)) thrown.add(result)
    }
    const bytes = randomBytes(64 * 1024)
    for (let start = 0; start < bytes.length; start += 64) {
      const part = bytes.subarray(start, start + ((bytes[start] ?? 0) % 64) + 1)
      tryToDecode(part)
      tryToDecode(Buffer.concat([Buffer.of(1, 0), part]))
      // A correct length passes the first check of the decoder.
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      tryToDecode(Buffer.concat([Buffer.of(1, 0), length, part]))
      tryToDecode(Buffer.concat([Buffer.of(1), part]))
    }
    for (let offset = 0; offset < one.length; offset++) {
      for (let value = 0; value < 256; value++) tryToDecode(changed(offset, value))
    }
    expect([...thrown]).toEqual([MalformedMessage])
  })
})
