import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonText, parseExactly, stringifyExactly } from '../../src/protocol/json-text.js'

const passThrough = (text: string) => stringifyExactly(parseExactly(text))

describe('JSON that keeps digits', () => {
  it.each([
    '9007199254740993',
    '-123456789012345678901234567890',
    '0.12345678901234567890',
    '1e400',
    '1.5E-400',
    '{"a":[9007199254740993,{"b":-9007199254740993}],"c":"9007199254740993"}',
    '["\\"9007199254740993",9007199254740993]',
    '["\\\\",9007199254740993,"\\\\\\""]',
  ])('writes %s unchanged', (text) => {
    expect(passThrough(text)).toBe(text)
  })

  it('parses numbers that a double can represent as numbers', () => {
    const text = '{"a":1e2,"b":1.50,"c":0e999,"d":-0.25,"e":1234567890123456,"f":1e300,"g":9007199254740993}'
    expect(parseExactly(text)).toEqual({
      a: 100,
      b: 1.5,
      c: 0,
      d: -0.25,
      e: 1234567890123456,
      f: 1e300,
      g: new JsonText('9007199254740993'),
    })
  })

  it('reads and writes any JSON like the platform does', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.string(), (text, other) => {
        const whole = `{"value":${text},"long":"e1234567890123456${'7'.repeat(9)}","other":${JSON.stringify(other)}}`
        expect(passThrough(whole)).toBe(JSON.stringify(JSON.parse(whole)))
      }),
    )
  })

  it('does not mistake strings for the placeholders that it uses inside', () => {
    const written = JSON.stringify(new JsonText('[1]'))
    // A placeholder contains a secret, so that no client can forge one; an inserted text is not searched again.
    expect(stringifyExactly({ a: new JsonText('"x"'), b: 'x' })).toBe('{"a":"x","b":"x"}')
    expect(written).not.toContain('[1]')
    expect(passThrough('["00000000-0000-4000-8000-00000000000012345",12345678901234567]')).toBe(
      '["00000000-0000-4000-8000-00000000000012345",12345678901234567]',
    )
  })

  it('inserts a JSON text unchanged, wherever it stands', () => {
    expect(stringifyExactly(new JsonText('{"n":9007199254740993,"é":"\\"$&"}'))).toBe(
      '{"n":9007199254740993,"é":"\\"$&"}',
    )
    expect(stringifyExactly([new JsonText('1'), { a: new JsonText('null') }])).toBe('[1,{"a":null}]')
  })

  it.each(['', '{', '9007199254740993x', '[9007199254740993,]', '09007199254740993'])(
    'refuses %j',
    (text) => {
      expect(() => parseExactly(text)).toThrow(SyntaxError)
    },
  )

  it('keeps __proto__ as an ordinary key', () => {
    expect(passThrough('{"__proto__":{"a":9007199254740993}}')).toBe('{"__proto__":{"a":9007199254740993}}')
  })

  it('reads megabytes of one string, of escapes and of long numbers', () => {
    for (const part of ['x', '\\n', '\\\\\\"']) {
      const text = `["${part.repeat(1 << 20)}",9007199254740993]`
      expect(passThrough(text)).toBe(text)
    }
    const numbers = `[${Array(50_000).fill('9007199254740993').join(',')}]`
    expect(passThrough(numbers)).toBe(numbers)
  })
})
