import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { API_RESULTS } from '../../src/http/api-results.js'
import { API_SCHEMAS, type ApiMethod } from '../../src/http/api-schemas.js'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { at, exampleSettings, exported, runShell, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const page = new Page('docs/server-api.md')
const METHODS = Object.keys(API_SCHEMAS) as ApiMethod[]
/** The fields that address a user, and those that are not available, are documented below the table. */
const BELOW_THE_TABLE = ['user', 'client', 'session', 'delta']

describe('the page about the server API', () => {
  it('has the methods of the code', () => {
    const documented = page.rows('methods').map(({ cells: [method = ''] }) => codesIn(method)[0])
    expect(documented, page.where('methods')).toEqual(METHODS)
  })

  it.each(METHODS.map((method, index) => ({ method, index })))(
    'has the fields of $method',
    ({ method, index }) => {
      const { line = 0, cells: [, body = '', result = ''] = [] } = page.rows('methods')[index] ?? {}
      for (const field of Object.keys(API_SCHEMAS[method].shape)) {
        if (BELOW_THE_TABLE.includes(field)) {
          expect(page.text, page.path).toContain(`\`${field}\``)
        } else expect(codesIn(body), page.at(line)).toContain(field)
      }
      for (const field of Object.keys(API_RESULTS[method].shape)) {
        expect(codesIn(result), page.at(line)).toContain(field)
      }
      // A documented field of a body is a field of the method or of one of its fields.
      const known = JSON.stringify(z.toJSONSchema(API_SCHEMAS[method], { io: 'input' }))
      for (const field of codesIn(body).filter((code) => /^[a-z_]+$/.test(code))) {
        expect(known, page.at(line)).toContain(`"${field}"`)
      }
    },
  )

  it('has examples of all methods that work', async () => {
    const node = await startExampleNode(exported(page.code('namespaces')))
    const getToken = async () => 'change-me'
    const alice = await SdkClient.connect(node.wsUrl, { token: 'change-me', getToken })
    afterThisTest(() => alice.close())
    const script = at(node, page.code('calls'))
    const called = [...script.matchAll(/^curl "\$API\/(\w+)"/gm)].map(([, method]) => method)
    expect(called.toSorted(), page.where('calls')).toEqual(METHODS.toSorted())
    const calls = runShell(script.replaceAll(/^curl/gm, 'curl -sS'))
    expect(await calls.exited).toMatchObject({ code: 0 })
    expect(calls.lines).toHaveLength(METHODS.length)
    const results = calls.lines.map((line) => (JSON.parse(line) as { result: object }).result)
    for (const [index, result] of results.entries()) {
      expect(result, `${page.path}: ${called[index]}`).toBeTypeOf('object')
    }
    expect(calls.output).not.toContain('"error"')
    const counts = results.flatMap((result) => ('num_clients' in result ? [result.num_clients] : []))
    // presence_stats has no clients, since alice was unsubscribed before.
    expect(counts).toEqual([1, 1, 1, 0, 1])
    expect((await alice.disconnected.first(1))[0]).toMatchObject({
      code: 4900,
      reason: 'your account is closed',
    })
  })

  it('has a row for every status but 200', async () => {
    const node = await startExampleNode()
    const { FANFARE_API_KEY: key = '' } = exampleSettings()
    const headers = { 'X-API-Key': key }
    const status = async (method: string, options: RequestInit) => {
      const response = await fetch(`${node.httpUrl}/api/${method}`, { method: 'POST', headers, ...options })
      return response.status
    }
    const statuses = [
      await status('info', { body: 'not JSON' }),
      await status('info', { headers: { 'X-API-Key': 'wrong' } }),
      await status('nothing', { body: '{}' }),
      await status('info', { method: 'GET' }),
      await status('info', { body: 'x'.repeat(3 * 1024 * 1024) }),
    ]
    const documented = page.rows('statuses').map(({ cells }) => Number(cells[0]))
    expect(documented, page.where('statuses')).toEqual(statuses)
    expect(await callApi(node, 'info', {}, { Authorization: `apikey ${key}` })).toMatchObject({ status: 200 })
    expect((await fetch(`${node.httpUrl}/api/openapi.json`)).status).toBe(200)
  })
})
