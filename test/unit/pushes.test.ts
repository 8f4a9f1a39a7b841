import { describe, expect, it } from 'vitest'
import { infoJson, presencePush, publicationPush } from '../../src/protocol/pushes.js'
import { clientInfo, publication } from '../contract/publications.js'

/** The exact text of `data` in the push. */
function dataOf(data: string | Buffer, isBinary = false): string {
  const push = publicationPush('room', publication(data, { isBinary }))
  return (
    /^\{"push":\{"channel":"room","pub":\{"data":(.*),"time":1800000000000\}\}\}$/s.exec(push)?.[1] ?? push
  )
}

describe('a publication of a raw client', () => {
  it.each([
    '{"a":1}',
    '[1, 2,  3]',
    '"text"',
    '17',
    '-1.50e+03',
    '12345678901234567890.1234567890',
    'true',
    'null',
    ' {"spaced": true} ',
    '{"__proto__":{"a":1}}',
    '{"a":1,"a":2}',
    '"\\ud800"',
  ])('(%s) that is JSON stays unchanged', (text) => expect(dataOf(text)).toBe(text))

  it.each([
    '',
    ' ',
    'hello',
    'grüße',
    '{',
    '{"a":1}}',
    '{"a":1}{"b":2}',
    "{'a':1}",
    'NaN',
    'undefined',
    '\ufeff{}',
  ])('(%j) that is text becomes a string', (text) => expect(dataOf(text)).toBe(JSON.stringify(text)))

  it('takes one line, since lines separate objects', () => {
    expect(dataOf('{\n  "a": [1,\r\n 2]\n}\n')).toBe('{   "a": [1,   2] } ')
    expect(dataOf('two\nlines\r\n')).toBe('"two\\nlines\\r\\n"')
    expect(dataOf('{"push":\n')).not.toContain('\n')
  })

  it('that is binary becomes base64 of every byte, also where it would be JSON', () => {
    expect(dataOf(Buffer.from([0, 255, 10, 13]), true)).toBe('{"base64":"AP8KDQ=="}')
    expect(dataOf(Buffer.from('{"a":1}'), true)).toBe('{"base64":"eyJhIjoxfQ=="}')
    expect(dataOf(Buffer.of(), true)).toBe('{"base64":""}')
  })

  it('is read from its own part of a shared buffer', () => {
    const shared = Buffer.from('before"own"after')
    expect(dataOf(shared.subarray(6, 11))).toBe('"own"')
    const bytes = new Uint8Array(shared.buffer, shared.byteOffset + 6, 5)
    const push = publicationPush('room', { ...publication(''), data: bytes })
    expect(push).toBe('{"push":{"channel":"room","pub":{"data":"own","time":1800000000000}}}')
  })

  it.each([`${'['.repeat(50_000)}${']'.repeat(50_000)}`, `${'\n['.repeat(50_000)}${']'.repeat(50_000)}`])(
    'becomes valid JSON, however deeply it is nested: %#',
    (text) => expect(() => JSON.parse(publicationPush('room', publication(text))) as unknown).not.toThrow(),
  )
})

describe('a push', () => {
  it('of a publication contains its channel, info, tags and time', () => {
    const push = publicationPush(
      'ro"om',
      publication('{"a":1}', {
        isJson: true,
        info: { client: 'c', user: 'ann', connInfo: '{"name":"Ann"}', chanInfo: undefined },
        tags: { lang: 'd"e' },
        position: { epoch: 'e', offset: 7 },
      }),
    )
    expect(push).toBe(
      '{"push":{"channel":"ro\\"om","pub":{"data":{"a":1},"info":{"user":"ann","client":"c","conn_info":{"name":"Ann"}},"offset":7,"tags":{"lang":"d\\"e"},"time":1800000000000}}}',
    )
  })

  it.each(['join', 'leave'] as const)('of a %s contains the info, and no number of clients', (type) => {
    const push = presencePush('room', { type, info: clientInfo('c', 'ann'), online: 5 })
    expect(push).toBe(`{"push":{"channel":"room","${type}":{"info":{"user":"ann","client":"c"}}}}`)
  })

  it('contains the infos of a client as JSON', () => {
    const info = { client: 'c', user: '', connInfo: '17', chanInfo: '[null]' }
    expect(JSON.parse(presencePush('room', { type: 'join', info, online: 1 }))).toMatchObject({
      push: { join: { info: { client: 'c', conn_info: 17, chan_info: [null] } } },
    })
    expect(infoJson(info)).toMatchObject({ client: 'c' })
  })
})
