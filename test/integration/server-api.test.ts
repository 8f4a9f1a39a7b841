import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

function tagsOf(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`tag${index}`, 'x']))
}

/** Whether `JSON.stringify` of this Node copes with the depth: up to Node 24 it recurses. */
function canWrite(json: string): boolean {
  try {
    JSON.stringify(JSON.parse(json))
    return true
  } catch {
    return false
  }
}

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

  it('keeps every digit of the numbers in data', async () => {
    const client = await open('/ws/digits')
    await callApi(
      node,
      'publish',
      '{"channel":"digits","data":{"id": 9007199254740993, "x":[0.10000000000000000001]}}',
    )
    expect(await client.nextText()).toBe('{"id":9007199254740993,"x":[0.10000000000000000001]}')
  })

  it('publishes to all but the excluded client', async () => {
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

  it('accepts the key from either header, and refuses any other', async () => {
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
    ['a number for data that is missing', 'publish', '{"channel":9007199254740993}', 'channel'],
    ['too many tags', 'publish', { channel: 'c', data: 1, tags: tagsOf(33) }, 'tags: at most 32'],
    ['a long tag', 'publish', { channel: 'c', data: 1, tags: { a: 'é'.repeat(128) } }, '255 bytes'],
    ['a number for a tag', 'publish', '{"channel":"c","data":1,"tags":{"a":9007199254740993}}', 'tags.a'],
    ['a long idempotency key', 'publish', { channel: 'c', data: 1, idempotency_key: 'k'.repeat(256) }, '255'],
    ['no user to disconnect', 'disconnect', { user: '' }, 'user: is required'],
    ['no user', 'unsubscribe', { channel: 'c' }, 'user'],
    ['a close code of the protocol', 'disconnect', { user: 'u', code: 1000 }, 'code: must be 3000 to 4999'],
    ['a close code above all', 'disconnect', { user: 'u', code: 5000 }, 'code: must be 3000 to 4999'],
    [
      'a long reason',
      'disconnect',
      { user: 'u', reason: 'é'.repeat(62) },
      'reason: must have at most 123 bytes',
    ],
    ['half a position', 'history', { channel: 'c', since: { offset: 1 } }, 'since.epoch'],
    ['a limit below -1', 'history', { channel: 'c', limit: -2 }, 'limit'],
    ['a limit that is no whole number', 'history', { channel: 'c', limit: 1.5 }, 'limit'],
    ['a command of two methods', 'batch', { commands: [{ info: {}, channels: {} }] }, 'commands.0'],
    ['1,001 commands', 'batch', { commands: Array(1_001).fill({ info: {} }) }, 'commands'],
  ])('answers %s with error 107 and the reason', async (_what, method, body, hint) => {
    const answer = await callApi(node, method, body)
    expect(answer.status).toBe(200)
    expect(answer.body.error).toEqual({ code: 107, message: expect.stringContaining(hint) })
  })

  it('publishes data of any depth that this Node can write, and refuses a greater one with error 107', async () => {
    const data = `${'['.repeat(1e5)}${']'.repeat(1e5)}`
    const { status, body } = await callApi(node, 'publish', `{"channel":"c","data":${data}}`)
    expect(status).toBe(200)
    if (canWrite(data)) expect(body).toEqual({ result: {} })
    else expect(body.error).toEqual({ code: 107, message: expect.stringContaining('deep') })
  })

  it('answers invalid JSON with 400, a wrong HTTP method with 405 and an unknown API method with 404', async () => {
    expect((await callApi(node, 'publish', '{')).status).toBe(400)
    expect((await callApi(node, 'nonsense', {})).status).toBe(404)
    const headers = { 'X-API-Key': API_KEY }
    expect((await fetch(`${node.httpUrl}/api/publish`, { headers })).status).toBe(405)
  })

  it('refuses data above the limit with error 106, and a far larger body unread with 413', async () => {
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

describe('a batch', () => {
  let node: FanfareProcess
  beforeAll(async () => {
    node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'alice=secret', FANFARE_API_KEY: API_KEY })
  })
  afterAll(() => node.child.stop())

  it.each([false, true])(
    'answers each command under its method, in order (parallel: %s)',
    async (parallel) => {
      const client = await RawClient.connect(`${node.wsUrl}/ws/batch`, { token: 'secret' })
      const { status, body } = await callApi(node, 'batch', {
        commands: [
          { publish: { channel: 'batch', data: 1 } },
          { publish: { channel: 'batch' } },
          { nonsense: {} },
          { batch: { commands: [] } },
          { channels: { pattern: 'batch' } },
          { publish: { channel: 'batch', data: 2 } },
        ],
        parallel,
      })
      expect(status).toBe(200)
      expect(body.result).toEqual({
        replies: [
          { publish: {} },
          { error: { code: 107, message: expect.stringContaining('data') } },
          { error: { code: 104, message: 'method not found: "nonsense"' } },
          { error: { code: 107, message: expect.stringContaining('batch') } },
          { channels: { channels: { batch: { num_clients: 1 } } } },
          { publish: {} },
        ],
      })
      expect(await client.nextTexts(2)).toEqual(['1', '2'])
      client.close()
      await client.closed
    },
  )

  it('counts its commands by method and code, except unknown methods', async () => {
    const before = await node.metrics()
    await callApi(node, 'batch', { commands: [{ info: {} }, { info: { no: 1 } }, { nonsense: {} }] })
    const after = await node.metrics()
    const more = (labels: string) =>
      metric(after, 'fanfare_api_requests_total', labels) -
      metric(before, 'fanfare_api_requests_total', labels)
    expect(more('{method="batch",code="0"}')).toBe(1)
    expect(more('{method="info",code="0"}')).toBe(1)
    expect(more('{method="info",code="107"}')).toBe(1)
    expect(after).not.toContain('nonsense')
  })
})

describe('control of connections', () => {
  let node: FanfareProcess
  const token = { alice: 'token-a', bob: 'token-b' }
  const open = (user: keyof typeof token, path: string) =>
    RawClient.connect(`${node.wsUrl}${path}`, { token: token[user] })
  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: `alice=${token.alice},bob=${token.bob}`,
      FANFARE_API_KEY: API_KEY,
    })
  })
  afterAll(() => node.child.stop())

  it('disconnects a user with 3503 force disconnect, and no other user', async () => {
    const [alice, echo, bob] = await Promise.all([
      open('alice', '/ws/c'),
      open('alice', '/echo'),
      open('bob', '/ws/c'),
    ])
    expect((await callApi(node, 'disconnect', { user: 'alice' })).body.result).toEqual({ num_clients: 2 })
    for (const client of [alice, echo]) {
      expect(await client.closed).toEqual({ code: 3503, reason: 'force disconnect' })
    }
    await callApi(node, 'publish', { channel: 'c', data: 'still connected' })
    expect(await bob.nextText()).toBe('"still connected"')
    bob.close()
  })

  it('disconnects with a code and a reason of the application, except the clients of the whitelist', async () => {
    const spared = await open('alice', '/ws/seats?events=join')
    const { client } = JSON.parse(await spared.nextText()) as { client: string }
    const disconnected = await open('alice', '/ws/seats')
    const reason = `${'é'.repeat(61)}x`
    const body = { user: 'alice', code: 4123, reason, whitelist: [client] }
    expect((await callApi(node, 'disconnect', body)).body.result).toEqual({ num_clients: 1 })
    expect(await disconnected.closed).toEqual({ code: 4123, reason })
    const named = { user: '', client, code: 3011 }
    expect((await callApi(node, 'disconnect', named)).body.result).toEqual({ num_clients: 1 })
    expect(await spared.closed).toEqual({ code: 3011, reason: 'force reconnect' })
  })

  it('affects no connection with another user, client or session', async () => {
    const client = await open('alice', '/ws/alone')
    for (const body of [
      { user: 'bob' },
      { user: 'alice', client: 'other' },
      { user: 'alice', session: 'other' },
      { user: '', session: 'other' },
    ]) {
      expect((await callApi(node, 'disconnect', body)).body.result).toEqual({ num_clients: 0 })
    }
    expect((await callApi(node, 'disconnect', { user: 'alice' })).body.result).toEqual({ num_clients: 1 })
    await client.closed
  })

  it('unsubscribes a raw client by closing it, and only from its channel', async () => {
    const [first, second] = await Promise.all([open('alice', '/ws/one'), open('alice', '/ws/two')])
    const body = { user: 'alice', channel: 'one' }
    expect((await callApi(node, 'unsubscribe', body)).body.result).toEqual({ num_clients: 1 })
    expect(await first.closed).toEqual({ code: 3503, reason: 'Unsubscribed by the server' })
    expect((await callApi(node, 'unsubscribe', body)).body.result).toEqual({ num_clients: 0 })
    second.close()
    await second.closed
  })

  it('refuses a subscription with an expiry in the past', async () => {
    const body = { user: 'alice', channel: 'two', expire_at: Math.floor(Date.now() / 1_000) - 20 }
    expect((await callApi(node, 'subscribe', body)).body.error).toMatchObject({ code: 110 })
  })

  it('refuses to subscribe a raw client to another channel with 108', async () => {
    const client = await open('alice', '/ws/one')
    const body = { user: 'alice', channel: 'two', data: { a: 1 }, recover_since: { epoch: 'e', offset: 1 } }
    expect((await callApi(node, 'subscribe', body)).body.error).toEqual({
      code: 108,
      message: expect.stringContaining('raw connections'),
    })
    expect((await callApi(node, 'subscribe', { ...body, user: 'unknown' })).body.result).toEqual({
      num_clients: 0,
    })
    client.close()
    await client.closed
  })

  it('closes a connection with 3005 when it is set as expired, and when it expires', async () => {
    const [now, soon] = await Promise.all([open('alice', '/ws/now'), open('bob', '/ws/soon')])
    expect((await callApi(node, 'refresh', { user: 'alice', expired: true })).body.result).toEqual({
      num_clients: 1,
    })
    expect(await now.closed).toEqual({ code: 3005, reason: 'connection expired' })
    const expireAt = Math.ceil(Date.now() / 1_000) + 1
    await callApi(node, 'refresh', { user: 'bob', expire_at: expireAt })
    expect(await soon.closed).toEqual({ code: 3005, reason: 'connection expired' })
    expect(Date.now()).toBeGreaterThanOrEqual(expireAt * 1_000)
  })
})

describe('the description of the server API', () => {
  it('is served without a key', async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'secret' })
    const response = await fetch(`${node.httpUrl}/api/openapi.json`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await response.json()).toMatchObject({ openapi: '3.1.0', info: { title: 'Fanfare server API' } })
    expect((await fetch(`${node.httpUrl}/api/openapi.json`, { method: 'POST', body: '{}' })).status).not.toBe(
      200,
    )
    await node.child.stop()
  })
})

describe('the server API of a node without a key', () => {
  it('refuses every request with a message about the missing key', async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'secret' })
    const { status, body } = await callApi(node, 'info', {})
    expect(status).toBe(401)
    expect(body.error?.message).toContain('no API key is configured')
    await node.child.stop()
  })
})
