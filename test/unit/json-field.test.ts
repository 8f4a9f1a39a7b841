import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonFieldText } from '../../src/protocol/json-field.js'

const dataOf = (json: string) => jsonFieldText(json, 'publish', 'data')

describe('the text of a field', () => {
  it.each([
    ['{"publish":{"data":12345678901234567890}}', '12345678901234567890'],
    ['{"id":1, "publish": {"channel":"a","data" : 1.10 } }', '1.10'],
    [
      '{"publish":{"data":{"data":[1,{"publish":2}],"b":"}"},"channel":"data"}}',
      '{"data":[1,{"publish":2}],"b":"}"}',
    ],
    ['{"publish":{"data":"a\\\\\\"b, } ] : "}}', '"a\\\\\\"b, } ] : "'],
    ['{"publish":{"data":1,"data":2}}', '2'],
    ['{"publish":{"data":1},"publish":{"data":3}}', '3'],
    ['{"publish":{"data":1},"publish":{}}', undefined],
    ['{"publish":{"d\\u0061ta":"escaped"}}', '"escaped"'],
    ['{"pub\\u006cish":{"data":null}}', 'null'],
    ['{"publish":{"data":[]},"rpc":{"data":5}}', '[]'],
    ['{"rpc":{"data":5}}', undefined],
    ['{"publish":{"a":{"data":5}}}', undefined],
    ['{"publish":[{"data":5}]}', undefined],
    ['{"publish":["data",{"a":1}]}', undefined],
    ['{"a":["publish",{"data":5}]}', undefined],
    ['{"data":5,"publish":6}', undefined],
    ['{"__proto__":{"data":1},"publish":{"__proto__":2,"data":7}}', '7'],
  ])('in %s is %s', (json, text) => {
    JSON.parse(json)
    expect(dataOf(json)).toBe(text)
  })

  it('is what JSON.parse finds, in any JSON', () => {
    const value = fc.jsonValue({ maxDepth: 4 })
    const key = fc.oneof(fc.constantFrom('publish', 'data', 'id', 'channel', '', '"', '\\'), fc.string())
    const object = (field: fc.Arbitrary<unknown>) => fc.dictionary(key, field, { maxKeys: 5 })
    const indent = fc.constantFrom(undefined, 1, '\t')
    fc.assert(
      fc.property(object(fc.oneof(object(value), value)), indent, (json, space) => {
        const text = JSON.stringify(json, undefined, space)
        const publish = (JSON.parse(text) as { publish?: unknown }).publish
        const isObject = typeof publish === 'object' && publish !== null && !Array.isArray(publish)
        const expected =
          isObject && Object.hasOwn(publish, 'data') ? (publish as { data: unknown }).data : undefined
        const found = dataOf(text)
        expect(found === undefined ? undefined : JSON.parse(found)).toEqual(expected)
        expect(found === undefined).toBe(expected === undefined)
      }),
      { numRuns: 2_000 },
    )
  })
})
