import { z } from 'zod'
import { ERRORS } from '../protocol/errors.js'
import type { HttpRoute } from '../transport/transport.js'
import { API_RESULTS, apiError, clientInfo, publication } from './api-results.js'
import { API_SCHEMAS, type ApiMethod } from './api-schemas.js'
import { jsonResponse } from './json-response.js'
import { getRoute } from './operations.js'

/** The purpose of each method, and an example of its body. */
export const API_EXAMPLES: Readonly<Record<ApiMethod, { readonly summary: string; readonly body: unknown }>> =
  {
    publish: {
      summary: 'Publish to a channel.',
      body: { channel: 'news', data: { text: 'hello' } },
    },
    broadcast: {
      summary: 'Publish the same to several channels.',
      body: { channels: ['user:1', 'user:2'], data: { text: 'hello' } },
    },
    subscribe: {
      summary: 'Subscribe connections to a channel on behalf of the server.',
      body: { user: '42', channel: 'news', info: { role: 'editor' } },
    },
    unsubscribe: {
      summary: 'Take connections out of a channel; raw connections are closed with 3503.',
      body: { user: '42', channel: 'news' },
    },
    disconnect: {
      summary: 'Close connections.',
      body: { user: '42', code: 4000, reason: 'signed in elsewhere', whitelist: ['the-client-that-stays'] },
    },
    refresh: {
      summary: 'Set when connections expire.',
      body: { user: '42', expire_at: 1_900_000_000 },
    },
    presence: { summary: 'Who is in a channel.', body: { channel: 'news' } },
    presence_stats: {
      summary: 'How many clients and users are in a channel.',
      body: { channel: 'news' },
    },
    history: {
      summary: 'Read what was published in a channel.',
      body: { channel: 'news', limit: 10, since: { epoch: 'AbCd', offset: 17 } },
    },
    history_remove: {
      summary: 'Forget what was published in a channel.',
      body: { channel: 'news' },
    },
    channels: {
      summary: 'Channels with clients, on all nodes.',
      body: { pattern: 'news:*' },
    },
    info: { summary: 'The nodes that are alive.', body: {} },
    batch: {
      summary: 'Several commands in one request.',
      body: { commands: [{ publish: { channel: 'news', data: 1 } }, { info: {} }], parallel: true },
    },
  }

/** Serves the description without a key: it contains no secret, and tools fetch it without one. */
export function openApiRoute(version: string): HttpRoute {
  const response = jsonResponse(200, describeApi(version))
  return getRoute('/api/openapi.json', () => response)
}

/** Describes the server API in OpenAPI 3.1, from the schemas that requests are checked with. */
export function describeApi(version: string): object {
  const methods = Object.keys(API_SCHEMAS) as ApiMethod[]
  const results = componentsOf('output', [
    ['ClientInfo', clientInfo],
    ['Publication', publication],
    ['Error', apiError],
    ...methods.map((method): [string, z.ZodType] => [`${pascalCase(method)}Result`, API_RESULTS[method]]),
  ])
  const bodies = componentsOf(
    'input',
    methods.map((method) => [`${pascalCase(method)}Request`, API_SCHEMAS[method]]),
  )
  const codes = Object.values(ERRORS).map(({ code, message }) => `${code} ${message}`)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Fanfare server API',
      version,
      description: `Every answer has either \`result\` or \`error\`, and HTTP status 200 for both. Errors: ${codes.join(', ')}.`,
    },
    servers: [{ url: '/' }],
    security: [{ header: [] }, { authorization: [] }],
    paths: Object.fromEntries(methods.map((method) => [`/api/${method}`, { post: operation(method) }])),
    components: {
      securitySchemes: {
        header: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        authorization: {
          type: 'apiKey',
          in: 'header',
          name: 'Authorization',
          description: '`apikey` and the key, with a space between them.',
        },
      },
      responses: {
        BadRequest: errorResponse('The body is not JSON.'),
        Unauthorized: errorResponse('The key is wrong, or none is configured.'),
        TooLarge: { description: 'The body is larger than any message may be.' },
      },
      schemas: { ...bodies, ...results },
    },
  }
}

function operation(method: ApiMethod): object {
  const { summary, body } = API_EXAMPLES[method]
  return {
    operationId: method,
    summary,
    requestBody: {
      required: true,
      content: json({ $ref: `#/components/schemas/${pascalCase(method)}Request` }, body),
    },
    responses: {
      200: {
        description: 'The result, or why there is none.',
        content: json({
          oneOf: [
            objectOf('result', `#/components/schemas/${pascalCase(method)}Result`),
            objectOf('error', '#/components/schemas/Error'),
          ],
        }),
      },
      400: { $ref: '#/components/responses/BadRequest' },
      401: { $ref: '#/components/responses/Unauthorized' },
      413: { $ref: '#/components/responses/TooLarge' },
    },
  }
}

function errorResponse(description: string): object {
  return { description, content: json(objectOf('error', '#/components/schemas/Error')) }
}

function objectOf(key: string, $ref: string): object {
  return { type: 'object', properties: { [key]: { $ref } }, required: [key], additionalProperties: false }
}

function json(schema: object, example?: unknown): object {
  return { 'application/json': { schema, ...(example !== undefined && { example }) } }
}

/** Converts schemas to JSON Schemas by name, which refer to each other as components. */
function componentsOf(io: 'input' | 'output', schemas: readonly (readonly [string, z.ZodType])[]): object {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of schemas) registry.add(schema, { id })
  const uri = (id: string) => `#/components/schemas/${id}`
  const { schemas: described } = z.toJSONSchema(registry, { io, uri })
  return Object.fromEntries(
    Object.entries(described).map(([id, { $schema: _schema, $id: _id, ...schema }]) => [id, schema]),
  )
}

/** `history_remove` → `HistoryRemove` */
function pascalCase(method: ApiMethod): string {
  return method.replace(/(?:^|_)(\w)/g, (_match, letter: string) => letter.toUpperCase())
}
