import type { CpuInfo } from 'node:os'
import { describe, expect, it } from 'vitest'
import { monitorAddress, printedAddress } from '../../src/cli/monitor/address.js'
import { failureLine, MAX_PRINTED_CHARACTERS, printable, reportLine } from '../../src/cli/monitor/lines.js'
import {
  decodeBinaryReport,
  decodeTextReport,
  encodeBinaryReport,
  encodeTextReport,
  MachineSampler,
} from '../../src/cli/monitor/report.js'

const GIB = 1024 ** 3

const REPORT = {
  reporter: 'höst:42',
  cpuPercent: 12.34,
  memoryUsedBytes: 3 * GIB,
  memoryTotalBytes: 16 * GIB,
}

describe('the address to connect to', () => {
  it.each([
    ['ws://127.0.0.1:8000', undefined, 'ws://127.0.0.1:8000/ws/monitor'],
    ['ws://127.0.0.1:8000/', 'room', 'ws://127.0.0.1:8000/ws/room'],
    ['ws://127.0.0.1:8000/ws/', 'room', 'ws://127.0.0.1:8000/ws/room'],
    ['wss://example.com', 'news#17,42 ü/x?', 'wss://example.com/ws/news%2317%2C42%20%C3%BC%2Fx%3F'],
    ['ws://h:1/ws/a%20b', undefined, 'ws://h:1/ws/a%20b'],
    ['ws://h:1/ws/a%20b', 'a b', 'ws://h:1/ws/a%20b'],
    ['ws://h:1/behind/a/proxy', 'room', 'ws://h:1/behind/a/proxy/ws/room'],
    ['ws://h:1/echo', undefined, 'ws://h:1/echo'],
    ['ws://h:1?events=join,leave', 'room', 'ws://h:1/ws/room?events=join,leave'],
  ])('of %s and the channel %s is %s', (url, channel, expected) => {
    expect(monitorAddress(url, channel).href).toBe(expected)
  })

  it.each([
    ['http://h:1', undefined, 'bad address http://h:1: expected ws://'],
    ['localhost:8000', undefined, 'bad address localhost:8000: expected ws://'],
    ['', undefined, 'bad address'],
    ['ws://h:99999', undefined, 'bad address ws://h:99999: expected ws://'],
    ['ws://h:1/ws/a#b', undefined, 'write %23'],
    ['ws://h:1/ws/a', 'b', 'names the channel a and --channel another, b'],
    ['ws://h:1', '', `"" can't be the name of a channel`],
    ['ws://h:1', '..', `".." can't be the name of a channel`],
  ])('refuses %j with the channel %j', (url, channel, message) => {
    expect(() => monitorAddress(url, channel)).toThrow(message)
  })

  it('is printed without credentials, also when it is bad', () => {
    expect(() => monitorAddress('http://user:pass@h:1/ws/a?token=hidden')).toThrow(
      /^bad address http:\/\/h:1\/ws\/a: /,
    )
    expect(printedAddress(new URL('ws://user:pass@h:1/ws/a?token=hidden'))).toBe('ws://h:1/ws/a')
  })
})

describe('a report', () => {
  it('is decoded from a text frame as it was encoded', () => {
    const text = encodeTextReport(REPORT)
    expect(JSON.parse(text)).toEqual({ type: 'report', version: 1, ...REPORT, memoryPercent: 18.75 })
    expect(decodeTextReport(text)).toMatchObject(REPORT)
  })

  it('is decoded from a binary frame as it was encoded', () => {
    const frame = encodeBinaryReport(REPORT)
    expect(frame.subarray(0, 5)).toEqual(Buffer.from([0x46, 0x4d, 1, 1234 >> 8, 1234 & 0xff]))
    expect(frame.length).toBe(22 + Buffer.byteLength(REPORT.reporter))
    expect(decodeBinaryReport(frame)).toMatchObject(REPORT)
  })

  it('has a name that does not fit the binary frame truncated between characters', () => {
    const frame = encodeBinaryReport({ ...REPORT, reporter: 'ü'.repeat(200) })
    expect(decodeBinaryReport(frame)?.reporter).toBe('ü'.repeat(127))
  })

  it.each([
    'hello',
    '[]',
    'null',
    '{"type":"report"}',
    JSON.stringify({ type: 'report', version: 2, ...REPORT }),
    JSON.stringify({ type: 'report', version: 1, ...REPORT, cpuPercent: '12' }),
    JSON.stringify({ type: 'report', version: 1, ...REPORT, memoryUsedBytes: 17 * GIB }),
    JSON.stringify({ type: 'report', version: 1, ...REPORT, memoryTotalBytes: 0 }),
  ])('is not decoded from the text %s', (text) => {
    expect(decodeTextReport(text)).toBeUndefined()
  })

  it('is not decoded from a changed binary frame', () => {
    const frame = encodeBinaryReport(REPORT)
    const changed = (offset: number, byte: number) => {
      const copy = Buffer.from(frame)
      copy[offset] = byte
      return copy
    }
    const others = {
      empty: Buffer.alloc(0),
      short: frame.subarray(0, 21),
      'cut in the name': frame.subarray(0, -1),
      longer: Buffer.concat([frame, Buffer.from('x')]),
      'without a name': changed(21, 0).subarray(0, 22),
      'other magic': changed(0, 0),
      'other version': changed(2, 2),
      'more than 100 %': changed(3, 0xff),
      'more used than there is': changed(5, 0xff),
      'a name that is not UTF-8': changed(22, 0xff),
    }
    for (const [name, bytes] of Object.entries(others)) {
      expect(decodeBinaryReport(bytes), name).toBeUndefined()
    }
  })

  it('is printed as one line', () => {
    expect(reportLine(REPORT, 'binary')).toBe(
      'report from höst:42 (binary): cpu 12.3 %, memory 3.00 of 16.00 GiB (18.8 %)',
    )
  })
})

describe('the CPU use', () => {
  const cpu = (busy: number, idle: number): CpuInfo => ({
    model: '',
    speed: 0,
    times: { user: busy, nice: 0, sys: 0, idle, irq: 0 },
  })

  it('is the busy share of all cores since the last sample', () => {
    const readings = [
      [cpu(1000, 5000), cpu(0, 0)],
      [cpu(1100, 5000), cpu(25, 75)],
      [cpu(1100, 5100), cpu(25, 175)],
    ]
    const sampler = new MachineSampler(() => readings.shift() ?? [])
    expect(sampler.sample().cpuPercent).toBe(62.5)
    expect(sampler.sample().cpuPercent).toBe(0)
  })

  it('is 0 where the system lists no processors', () => {
    const { cpuPercent, memoryUsedBytes, memoryTotalBytes } = new MachineSampler(() => []).sample()
    expect(cpuPercent).toBe(0)
    expect(memoryUsedBytes).toBeGreaterThan(0)
    expect(memoryUsedBytes).toBeLessThanOrEqual(memoryTotalBytes)
  })
})

describe('a received message', () => {
  it('is printed unchanged when it is plain', () => {
    expect(printable('{"event":"join","user":"Zoë 🙂"}')).toBe('{"event":"join","user":"Zoë 🙂"}')
  })

  it('is printed on one line, with control characters escaped', () => {
    expect(printable('a\r\nb\t\\n\u001b[2J\u009b2J\u2028\u202e\ud83d')).toBe(
      'a\\r\\nb\\t\\\\n\\u001b[2J\\u009b2J\\u2028\\u202e\\ud83d',
    )
  })

  it('is truncated, with its length, when it is long', () => {
    expect(printable('x'.repeat(MAX_PRINTED_CHARACTERS))).toBe('x'.repeat(MAX_PRINTED_CHARACTERS))
    expect(printable('x'.repeat(1_000_000))).toBe(
      `${'x'.repeat(MAX_PRINTED_CHARACTERS)}… (1000000 characters)`,
    )
  })

  it('has secrets masked before it is truncated', () => {
    const detail = `${'x'.repeat(MAX_PRINTED_CHARACTERS - 3)}secret`
    expect(failureLine({ name: 'not found', detail }, ['secret'])).toBe(`not found: ${'x'.repeat(197)}***`)
  })
})
