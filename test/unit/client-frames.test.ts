import { describe, expect, it } from 'vitest'
import {
  type ClientLine,
  encodeErrorReply,
  encodePush,
  encodeReply,
  readClientFrame,
} from '../../src/protocol/client-frames.js'
import { errors } from '../../src/protocol/errors.js'
import { JsonText } from '../../src/protocol/json-text.js'
import { writeJson } from '../../src/protocol/json-writer.js'

const read = (text: string, maxCommandBytes = 65_536): ClientLine[] => [
  ...readClientFrame(Buffer.from(text), maxCommandBytes),
]

describe('a frame of a client', () => {
  it('contains commands on lines, in order', () => {
    const lines = read('{"id":1,"ping":{}}\n{"id":2,"unsubscribe":{"channel":"a"}}\n\n{}\n')
    expect(lines).toEqual([
      { type: 'command', command: { id: 1, name: 'ping', request: {} }, bytes: 18 },
      { type: 'command', command: { id: 2, name: 'unsubscribe', request: { channel: 'a' } }, bytes: 38 },
      { type: 'pong' },
    ])
  })

  it('keeps the data of a publication as it was written, on one line', () => {
    const [line] = read('{"id":1,"publish":{"channel":"a","data":{"n":\r1.50,"text":"\\r"}}}')
    expect(line).toMatchObject({
      command: { request: { data: new JsonText('{"n": 1.50,"text":"\\r"}') } },
    })
  })

  it('gives absent fields their zero values, and ignores unknown fields', () => {
    const [line] = read('{"id":1,"subscribe":{"channel":"a","flag":1,"delta":"fossil"}}')
    expect(line).toEqual({
      type: 'command',
      bytes: 62,
      command: {
        id: 1,
        name: 'subscribe',
        request: {
          channel: 'a',
          token: '',
          recover: false,
          epoch: '',
          offset: 0,
          positioned: false,
          recoverable: false,
          join_leave: false,
        },
      },
    })
  })

  it.each([
    ['not JSON', '{"id":1,'],
    ['an array', '[]'],
    ['a number', '1'],
    ['null', 'null'],
    ['a command without an id', '{"ping":{}}'],
    ['an id alone', '{"id":1}'],
    ['two commands in one object', '{"id":1,"ping":{},"rpc":{}}'],
    ['an id of 0', '{"id":0,"ping":{}}'],
    ['a negative id', '{"id":-1,"ping":{}}'],
    ['an id above uint32', '{"id":4294967296,"ping":{}}'],
    ['a fraction for an id', '{"id":1.5,"ping":{}}'],
    ['a text for an id', '{"id":"1","ping":{}}'],
    ['lists of a depth of 100,000', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ])('is malformed when it is %s', (_what, text) => {
    expect(read(text, 1_000_000)).toMatchObject([{ type: 'malformed' }])
  })

  it.each([
    ['an unknown command', '{"id":7,"shutdown":{}}', 104],
    ['a field that every object has', '{"id":7,"__proto__":{}}', 104],
    ['another such field', '{"id":7,"constructor":{}}', 104],
    ['a wrong type', '{"id":7,"subscribe":{"channel":1}}', 107],
    ['a missing field', '{"id":7,"subscribe":{}}', 107],
    ['a request that is no object', '{"id":7,"history":[]}', 107],
    ['a publication without data', '{"id":7,"publish":{"channel":"a"}}', 107],
    ['a negative offset', '{"id":7,"subscribe":{"channel":"a","offset":-1}}', 107],
    ['too many bytes', `{"id":7,"publish":{"channel":"a","data":"${'x'.repeat(70_000)}"}}`, 106],
  ])('that asks for %s is answered with an error', (_what, text, code) => {
    expect(read(text)).toMatchObject([{ type: 'refused', id: 7, error: { code } }])
  })

  it('needs no id to send a message', () => {
    expect(read('{"send":{"data":1}}')).toMatchObject([{ type: 'command', command: { id: 0, name: 'send' } }])
  })
})

describe('a frame to a client', () => {
  it('leaves out zero values, and inserts JSON texts unchanged', () => {
    expect(encodeReply(3, 'history', { publications: [], epoch: 'x', offset: 0 })).toBe(
      '{"id":3,"history":{"publications":[],"epoch":"x"}}',
    )
    expect(encodePush('a"b', 'pub', { data: new JsonText('{"n": 1.0}'), offset: 7 })).toBe(
      '{"push":{"channel":"a\\"b","pub":{"data":{"n": 1.0},"offset":7}}}',
    )
  })

  it('contains the error, and whether it is temporary', () => {
    expect(encodeErrorReply(4, errors.alreadySubscribed('a'))).toBe(
      '{"id":4,"error":{"code":105,"message":"already subscribed: a"}}',
    )
    expect(JSON.parse(encodeErrorReply(4, errors.internal('x')))).toMatchObject({
      error: { temporary: true },
    })
  })

  it('contains nested objects and lists', () => {
    expect(writeJson({ a: [{ b: '' }, 0, 'x'], c: { d: true, e: false } })).toBe(
      '{"a":[{},0,"x"],"c":{"d":true}}',
    )
  })
})
