import { describe, expect, it } from 'vitest'
import { OriginPolicy } from '../../src/auth/origins.js'

const HOST = 'fanfare.test:8000'

function allows(patterns: readonly string[], origin: string | undefined, host: string | undefined = HOST) {
  return new OriginPolicy(patterns).allows(origin, host)
}

describe('with no allowed origins', () => {
  it('a client without Origin passes, since it is no browser', () => expect(allows([], undefined)).toBe(true))

  it.each(['http://fanfare.test:8000', 'https://fanfare.test:8000', 'http://FANFARE.test:8000'])(
    'a page of the node itself passes: %s',
    (origin) => expect(allows([], origin)).toBe(true),
  )

  it('a page of the node itself passes whatever the case of Host', () => {
    expect(allows([], 'http://fanfare.test:8000', 'Fanfare.Test:8000')).toBe(true)
  })

  it.each([
    'http://fanfare.test',
    'http://fanfare.test:8001',
    'http://evil.test',
    'http://fanfare.test.evil.test:8000',
    'http://evil-fanfare.test:8000',
    'http://fanfare.test:8000@evil.test',
    'http://sub.fanfare.test:8000',
  ])('a page of another origin does not pass: %s', (origin) => expect(allows([], origin)).toBe(false))

  it.each([
    'null',
    '',
    'fanfare.test:8000',
    'file://',
    'about:blank',
    'data:text/html,x',
    'chrome-extension://abcdefgh',
    'http://fanfare.test:8000/',
    'http://fanfare.test:8000/path',
    'http://user@fanfare.test:8000',
    ' http://fanfare.test:8000',
    'http://fanfare.test:8000, http://evil.test',
    'http:fanfare.test:8000',
    'http://',
  ])('what is not the origin of a page does not pass: %j', (origin) => expect(allows([], origin)).toBe(false))

  it('no origin passes without a valid Host', () => {
    expect(new OriginPolicy([]).allows('http://undefined', undefined)).toBe(false)
    expect(new OriginPolicy([]).allows('null', 'null')).toBe(false)
  })
})

describe('a full origin', () => {
  const patterns = ['https://app.example.com']

  it.each(['https://app.example.com', 'HTTPS://APP.EXAMPLE.COM'])('lets %s pass', (origin) =>
    expect(allows(patterns, origin)).toBe(true),
  )

  it.each([
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://example.com',
    'https://sub.app.example.com',
    'https://app.example.com.evil.com',
    'https://evil-app.example.com',
    'https://appxexample.com',
    'https://app.example.com.',
    'null',
  ])('refuses %s', (origin) => expect(allows(patterns, origin)).toBe(false))

  it('matches only the port that it names, which may be the default one', () => {
    expect(allows(['http://localhost:3000'], 'http://localhost:3000')).toBe(true)
    expect(allows(['http://localhost:3000'], 'http://localhost')).toBe(false)
    expect(allows(['http://localhost:3000'], 'http://localhost:30000')).toBe(false)
    expect(allows(['https://app.example.com:443'], 'https://app.example.com')).toBe(true)
    expect(allows(['http://app.example.com:443'], 'https://app.example.com')).toBe(false)
  })
})

describe('a host', () => {
  it.each(['http://example.com', 'https://example.com', 'https://example.com:8443'])(
    'lets %s pass',
    (origin) => expect(allows(['example.com'], origin)).toBe(true),
  )

  it.each(['https://www.example.com', 'https://evil-example.com', 'https://example.com.evil.com'])(
    'refuses %s',
    (origin) => expect(allows(['example.com'], origin)).toBe(false),
  )

  it('with a port matches only that port', () => {
    expect(allows(['example.com:8443'], 'https://example.com:8443')).toBe(true)
    expect(allows(['example.com:8443'], 'https://example.com')).toBe(false)
    expect(allows(['example.com:80'], 'http://example.com')).toBe(true)
  })
})

describe('a wildcard', () => {
  it.each(['https://a.example.com', 'http://a.b.example.com', 'https://a.example.com:8443'])(
    'lets the subdomain %s pass',
    (origin) => expect(allows(['*.example.com'], origin)).toBe(true),
  )

  it.each([
    'https://example.com',
    'https://evil-example.com',
    'https://evilexample.com',
    'https://a.example.com.evil.com',
    'https://evil.com/.example.com',
    'https://evil.com?.example.com',
    'https://evil.com#.example.com',
    'https://evil.com\\.example.com',
    'https://a.example.com@evil.com',
  ])('refuses %s', (origin) => expect(allows(['*.example.com'], origin)).toBe(false))

  it('with a scheme matches only that scheme', () => {
    expect(allows(['https://*.example.com'], 'https://a.example.com')).toBe(true)
    expect(allows(['https://*.example.com'], 'http://a.example.com')).toBe(false)
    expect(allows(['https://*.example.com'], 'https://a.example.com:8443')).toBe(false)
  })

  it('for everything lets opaque origins pass too', () => {
    for (const origin of ['null', 'https://evil.com', 'file://', '']) expect(allows(['*'], origin)).toBe(true)
  })
})

it('one of several patterns is enough', () => {
  const patterns = ['https://one.test', '*.two.test']
  expect(allows(patterns, 'https://one.test')).toBe(true)
  expect(allows(patterns, 'https://a.two.test')).toBe(true)
  expect(allows(patterns, 'https://three.test')).toBe(false)
})
