import { describe, expect, it } from 'vitest'
import {
  boolean,
  choice,
  duration,
  integer,
  type Kind,
  list,
  originPattern,
  port,
  redisUrl,
  size,
  staticToken,
  text,
} from '../../src/config/kinds.js'
import { environmentName, flagName, SETTING_KEYS, settingOf } from '../../src/config/settings.js'

describe('a duration', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['1.5s', 1_500],
    [' 2 s ', 2_000],
    ['0s', 0],
    ['0', 0],
    [0, 0],
  ])('reads %j as %i ms', (input, milliseconds) => {
    expect(duration().read(input)).toBe(milliseconds)
  })

  it.each([
    '',
    '30',
    30,
    '30 seconds',
    '30S',
    '-1s',
    '1e3s',
    's',
    '0.5ms',
    '1s2s',
    '9999999999999d',
    null,
    [],
  ])('is not %j', (input) => expect(duration().read(input)).toBeUndefined())

  it('is refused below the allowed minimum, which the advice names', () => {
    expect(duration(100).read('99ms')).toBeUndefined()
    expect(duration(100).read('0')).toBeUndefined()
    expect(duration(100).read('100ms')).toBe(100)
    expect(duration(100).expects).toContain('from 100ms')
  })
})

it.each([
  ['2.01s', 2_010],
  ['1.001s', 1_001],
  ['4.1m', 246_000],
])('a duration may have decimals: %s', (text, ms) => {
  expect(duration().read(text)).toBe(ms)
})

it('a duration is refused beyond what a timer can wait', () => {
  expect(duration().read('24d')).toBeDefined()
  expect(duration().read('25d')).toBeUndefined()
})

describe('a size', () => {
  const kind = size(1, 1024 ** 3)

  it.each([
    ['1048576', 1_048_576],
    [1_048_576, 1_048_576],
    ['64KiB', 65_536],
    ['1MiB', 1_048_576],
    ['1GiB', 1_073_741_824],
    ['1.5KiB', 1_536],
    ['10B', 10],
  ])('reads %j as %i bytes', (input, bytes) => expect(kind.read(input)).toBe(bytes))

  it.each(['', '64KB', '64kib', '1.0001KiB', '-1', '0', '2GiB', '1e3', Number.NaN, 1.5, true, {}])(
    'is not %j',
    (input) => expect(kind.read(input)).toBeUndefined(),
  )
})

describe('a number', () => {
  it.each([1, '1', ' 65535 '])('reads %j', (input) => expect(port.read(input)).toBe(Number(input)))

  it.each([-1, '65536', '8000x', '0x50', '1.0', 1.5, '', null, Number.POSITIVE_INFINITY])(
    'that is a port is not %j',
    (input) => expect(port.read(input)).toBeUndefined(),
  )

  it('stays within its range', () => {
    const kind = integer(2, 4)
    expect([1, 2, 4, 5].map((value) => kind.read(value))).toEqual([undefined, 2, 4, undefined])
  })
})

describe('true or false', () => {
  it.each([
    ['true', true],
    [true, true],
    ['false', false],
    [false, false],
  ])('reads %j', (input, value) => expect(boolean.read(input)).toBe(value))

  it.each(['', '1', 'yes', 'True', 0, 1, null])('is not %j', (input) =>
    expect(boolean.read(input)).toBeUndefined(),
  )
})

describe('a text', () => {
  it('is kept unchanged', () => {
    expect(text('a secret').read(' two\nlines ')).toBe(' two\nlines ')
    expect(text('a secret').read(17)).toBe('17')
  })

  it.each(['', null, true, ['x'], { x: 1 }])('is not %j', (input) =>
    expect(text('a secret').read(input)).toBeUndefined(),
  )

  it('has to match its pattern as a whole', () => {
    const host = settingOf('host').kind
    expect(host.read('0.0.0.0')).toBe('0.0.0.0')
    expect(host.read('::1')).toBe('::1')
    expect(host.read('a b')).toBeUndefined()
    expect(host.read('a\n')).toBeUndefined()
  })
})

it('a choice is exactly one of its words', () => {
  const kind = choice('json', 'pretty')
  expect(kind.read('pretty')).toBe('pretty')
  expect(['Pretty', '', 'toString', null].map((input) => kind.read(input))).toEqual(Array(4).fill(undefined))
})

describe('a list', () => {
  const ports = list(port, 'ports')

  it('is separated by commas, or a list in the file', () => {
    expect(ports.read('1, 2 ,3')).toEqual([1, 2, 3])
    expect(ports.read([1, '2'])).toEqual([1, 2])
    expect(ports.read('1,,2,')).toEqual([1, 2])
  })

  it.each(['', ',', ' , ', [], ['']])('is not empty, unlike %j', (input) =>
    expect(ports.read(input)).toBeUndefined(),
  )

  it('is refused as a whole when one of its parts is wrong', () => {
    expect(ports.read('1,x')).toBeUndefined()
    expect(ports.read([1, null])).toBeUndefined()
    expect(ports.read({ 0: 1 })).toBeUndefined()
    expect(ports.read(1)).toBeUndefined()
  })
})

describe('a static token', () => {
  it.each([
    ['secret', { user: '', token: 'secret' }],
    ['ann=secret', { user: 'ann', token: 'secret' }],
    ['ann=a=b', { user: 'ann', token: 'a=b' }],
    ['c2VjcmV0MTIzNDU2Nzg5MA=', { user: '', token: 'c2VjcmV0MTIzNDU2Nzg5MA=' }],
    ['c2VjcmV0MTIzNDU2Nzg5MDEyMw==', { user: '', token: 'c2VjcmV0MTIzNDU2Nzg5MDEyMw==' }],
    ['ann=c2VjcmV0MTIzNDU2Nzg5MDEyMw==', { user: 'ann', token: 'c2VjcmV0MTIzNDU2Nzg5MDEyMw==' }],
  ])('is read from %j', (input, token) => expect(staticToken.read(input)).toEqual(token))

  it.each(['', 'two words', 'ann=two words', 'an n=secret', 17, null])('is not %j', (input) =>
    expect(staticToken.read(input)).toBeUndefined(),
  )
})

describe('a Redis address', () => {
  it.each([
    'redis://localhost',
    'redis://127.0.0.1:6379/2',
    'rediss://user:p%40ss@redis.example.com:6380',
    'redis://[::1]:6379',
  ])('is %j', (input) => expect(redisUrl.read(input)).toBe(input))

  it.each([
    '',
    'localhost:6379',
    'http://localhost',
    'redis://',
    'redis://host:99999',
    'redis:///0',
    'redis://localhost/abc',
    'redis://localhost/-1',
    'redis://localhost/0/1',
    'redis://:p%zz@localhost',
    6379,
    null,
  ])('is not %j', (input) => expect(redisUrl.read(input)).toBeUndefined())
})

describe('an allowed origin', () => {
  it.each([
    '*',
    'https://app.example.com',
    'http://localhost:3000',
    '*.example.com',
    'https://*.example.com:8443',
    'example.com',
  ])('is %j', (input) => expect(originPattern.read(input)).toBe(input))

  it('is kept in lower case, as browsers send it', () => {
    expect(originPattern.read('https://App.Example.com')).toBe('https://app.example.com')
  })

  it.each([
    '',
    '**',
    'a.*.com',
    '*example.com',
    'ftp://a.com',
    'https://a.com/',
    'https://a.com/x',
    'a..com',
    'null ',
  ])('is not %j', (input) => expect(originPattern.read(input)).toBeUndefined())
})

describe('the table of settings', () => {
  it.each(SETTING_KEYS.filter((key) => settingOf(key).default !== undefined))(
    'shows the default of %s as text that reads back the same',
    (key) => {
      const { kind, default: value } = settingOf(key) as { kind: Kind<unknown>; default: unknown }
      expect(kind.read(kind.show(value))).toEqual(value)
    },
  )

  it('has the documented defaults', () => {
    const shown = (key: (typeof SETTING_KEYS)[number]) => settingOf(key).default
    expect({
      host: shown('host'),
      port: shown('port'),
      internalHost: shown('internalHost'),
      internalPort: shown('internalPort'),
      redisPrefix: shown('redisPrefix'),
      authHeader: shown('authHeader'),
      authAnonymous: shown('authAnonymous'),
      rawCheckInterval: shown('rawCheckInterval'),
      rawTimeout: shown('rawTimeout'),
      maxMessageBytes: shown('maxMessageBytes'),
      drainWindow: shown('drainWindow'),
      logLevel: shown('logLevel'),
    }).toEqual({
      host: '127.0.0.1',
      port: 8000,
      internalHost: '127.0.0.1',
      internalPort: 9000,
      redisPrefix: 'fanfare',
      authHeader: 'X-Auth-Token',
      authAnonymous: false,
      rawCheckInterval: 10_000,
      rawTimeout: 30_000,
      maxMessageBytes: 1_048_576,
      drainWindow: 20_000,
      logLevel: 'info',
    })
  })

  it('derives the environment variable and the flag from the key', () => {
    expect(environmentName('internalTlsCert')).toBe('FANFARE_INTERNAL_TLS_CERT')
    expect(flagName('internalTlsCert')).toBe('--internal-tls-cert')
  })
})
