import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

describe('the server API', () => {
  let node: FanfareProcess
  const open = (path: string) => RawClient.connect(`${node.wsUrl}${path}`, { token: 'secret' })

  beforeAll(async () => {
    node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'alice=secret', FANFARE_API_KEY: API_KEY })
  })
  afterAll(() => node.child.stop())

  it('publishes the JSON text of the data to raw clients', async () => {
    const client = await open('/ws/news')
    for (const data of [{ a: [1, 'x\n', null] }, 'text', 0, false, null, '']) {
      expect(await callApi(node, 'publish', { channel: 'news', data })).toEqual({
        status: 200,
        body: { result: {} },
      })
      expect(await client.nextText()).toBe(JSON.stringify(data))
    }
  })

  it('leaves out the client that is excluded', async () => {
    const watcher = await open('/ws/excluding?events=join')
    const { client } = JSON.parse(await watcher.nextText()) as { client: string }
    const other = await open('/ws/excluding')
    await watcher.nextText()
    await callApi(node, 'publish', { channel: 'excluding', data: 1, exclude: client })
    await callApi(node, 'publish', { channel: 'excluding', data: 2 })
    expect(await other.nextTexts(2)).toEqual(['1', '2'])
    expect(await watcher.nextText()).toBe('2')
  })

  it('broadcasts to several channels', async () => {
    const [one, two] = await Promise.all([open('/ws/b1'), open('/ws/b2')])
    const { body } = await callApi(node, 'broadcast', { channels: ['b1', 'b2'], data: 'all' })
    expect(body.result).toEqual({ responses: [{ result: {} }, { result: {} }] })
    expect([await one.nextText(), await two.nextText()]).toEqual(['"all"', '"all"'])
  })

  it('lists the nodes and the channels that match a pattern', async () => {
    await Promise.all([open('/ws/list:1'), open('/ws/list:1'), open('/ws/list:2'), open('/ws/other')])
    const { body } = await callApi(node, 'channels', { pattern: 'list:*' })
    expect(body.result).toEqual({
      channels: { 'list:1': { num_clients: 2 }, 'list:2': { num_clients: 1 } },
    })
    const info = await callApi(node, 'info', '')
    expect(info.body.result).toEqual({
      nodes: [
        expect.objectContaining({
          uid: expect.any(String),
          version: '0.1.0',
          num_clients: expect.any(Number),
          uptime: expect.any(Number),
        }),
      ],
    })
  })

  it('takes the key from either header, and refuses any other', async () => {
    const body = { channel: 'keys', data: 1 }
    expect((await callApi(node, 'publish', body, { Authorization: `apikey ${API_KEY}` })).status).toBe(200)
    for (const headers of [{}, { 'X-API-Key': 'wrong' }, { Authorization: `Bearer ${API_KEY}` }]) {
      const answer = await callApi(node, 'publish', body, headers as Record<string, string>)
      expect(answer.status).toBe(401)
      expect(answer.body.error?.code).toBe(101)
    }
  })

  it.each<[string, string, unknown, string]>([
    ['no channel', 'publish', { data: 1 }, 'channel'],
    ['no data', 'publish', { channel: 'c' }, 'data'],
    ['a channel that is no string', 'publish', { channel: 1, data: 1 }, 'channel'],
    ['a bad channel name', 'publish', { channel: 'a\nb', data: 1 }, 'printable ASCII'],
    ['an unknown field', 'publish', { channel: 'c', data: 1, exlude: 'x' }, 'exlude'],
    ['a list', 'publish', [], 'body'],
    ['no channels', 'broadcast', { channels: [], data: 1 }, 'channels'],
    ['a prototype', 'publish', '{"__proto__":{"channel":"c","data":1}}', 'channel'],
    ['absurd depth', 'publish', `{"channel":"c","data":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, 'deep'],
  ])('answers %s with error 107 that says what is wrong', async (_what, method, body, hint) => {
    const answer = await callApi(node, method, body)
    expect(answer.status).toBe(200)
    expect(answer.body.error).toEqual({ code: 107, message: expect.stringContaining(hint) })
  })

  it('answers what is not JSON with 400, a wrong method with 405, an unknown one with 404', async () => {
    expect((await callApi(node, 'publish', '{')).status).toBe(400)
    expect((await callApi(node, 'nonsense', {})).status).toBe(404)
    const headers = { 'X-API-Key': API_KEY }
    expect((await fetch(`${node.httpUrl}/api/publish`, { headers })).status).toBe(405)
  })

  it('refuses data above the limit with error 106, and a far larger body with 413 unread', async () => {
    const big = (bytes: number) => ({ channel: 'c', data: 'x'.repeat(bytes) })
    expect((await callApi(node, 'publish', big(1024 * 1024 - 2))).body).toEqual({ result: {} })
    expect((await callApi(node, 'publish', big(1024 * 1024 - 1))).body.error?.code).toBe(106)
    const response = await fetch(`${node.httpUrl}/api/publish`, {
      method: 'POST',
      headers: { 'X-API-Key': API_KEY },
      body: JSON.stringify(big(3 * 1024 * 1024)),
    })
    expect(response.status).toBe(413)
  })

  it('counts requests by method and code', async () => {
    const count = async (code: string) =>
      metric(await node.metrics(), 'fanfare_api_requests_total', `{method="channels",code="${code}"}`)
    const [good, bad] = [await count('0'), await count('107')]
    await callApi(node, 'channels', {})
    await callApi(node, 'channels', { pattern: 1 })
    expect([await count('0'), await count('107')]).toEqual([good + 1, bad + 1])
  })
})

describe('the server API of a node without a key', () => {
  it('is closed, and says so', async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'secret' })
    const { status, body } = await callApi(node, 'info', {})
    expect(status).toBe(401)
    expect(body.error?.message).toContain('no API key is configured')
    await node.child.stop()
  })
})
