import { describe, expect, it } from 'vitest'
import { API_SCHEMAS, type ApiMethod } from '../../src/http/api-schemas.js'
import { API_EXAMPLES, describeApi } from '../../src/http/openapi.js'

type Json = { [key: string]: Json } & { $ref?: string }

const description = JSON.parse(JSON.stringify(describeApi('1.2.3'))) as Json
const methods = Object.keys(API_SCHEMAS) as ApiMethod[]

/** Every object in a JSON value. */
function* objectsIn(value: unknown): IterableIterator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield value as Record<string, unknown>
  for (const part of Object.values(value)) yield* objectsIn(part)
}

function resolve(reference: string): unknown {
  const path = reference
    .replace(/^#\//, '')
    .split('/')
    .map((key) => key.replaceAll('~1', '/'))
  return path.reduce<unknown>(
    (value, key) => (value as Record<string, unknown> | undefined)?.[key],
    description,
  )
}

describe('the OpenAPI description', () => {
  it('has the OpenAPI version 3.1, and the version of the program', () => {
    expect(description).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } })
  })

  it('has every method, and no other', () => {
    expect(Object.keys(description['paths'] ?? {})).toEqual(methods.map((method) => `/api/${method}`))
  })

  it('contains everything that it refers to', () => {
    const references = [...objectsIn(description)].flatMap(({ $ref }) =>
      typeof $ref === 'string' ? [$ref] : [],
    )
    expect(references.length).toBeGreaterThan(2 * methods.length)
    for (const reference of references) {
      expect(reference).toMatch(/^#\/components\//)
      expect(resolve(reference), reference).toBeTypeOf('object')
    }
  })

  it('has no keyword inside schemas that only a document of its own may have', () => {
    for (const part of objectsIn(description)) {
      expect(Object.keys(part)).not.toContain('$schema')
      expect(Object.keys(part)).not.toContain('$id')
    }
  })

  it.each(methods)('has an example for %s that the node accepts', (method) => {
    expect(API_SCHEMAS[method].safeParse(API_EXAMPLES[method].body).success).toBe(true)
    const content = resolve(`#/paths/~1api~1${method}/post/requestBody/content/application~1json`)
    expect(content).toMatchObject({ example: API_EXAMPLES[method].body })
  })

  it('describes the fields of publish', () => {
    const schema = resolve('#/components/schemas/PublishRequest') as {
      required: string[]
      additionalProperties: boolean
      properties: Record<string, unknown>
    }
    expect(schema.required).toEqual(['channel', 'data'])
    expect(schema.additionalProperties).toBe(false)
    expect(Object.keys(schema.properties).sort()).toEqual(
      ['channel', 'data', 'delta', 'exclude', 'idempotency_key', 'skip_history', 'tags'].sort(),
    )
  })

  it('describes how the API key is sent', () => {
    const schemes = Object.keys((resolve('#/components/securitySchemes') as object | undefined) ?? {})
    expect(description['security']).toEqual(schemes.map((scheme) => ({ [scheme]: [] })))
  })
})
