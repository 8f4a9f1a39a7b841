import { randomBytes, randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { metric } from '../support/metric.js'
import { type ConnectOptions, RawClient, refusalOf } from '../support/raw-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

/** Resolves with the status that a handshake with these `Connection` headers is answered with. */
function handshakeStatus(port: number, path: string, connection: readonly string[]): Promise<number> {
  const lines = [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    ...connection.map((value) => `Connection: ${value}`),
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    '\r\n',
  ]
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(lines.join('\r\n')))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed without an answer')))
    socket.once('data', (data) => {
      socket.destroy()
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(data.toString())?.[1]))
    })
  })
}

describe('a handshake', () => {
  let node: FanfareProcess
  const open = (path: string, options?: ConnectOptions) => RawClient.connect(`${node.wsUrl}${path}`, options)
  const refused = (path: string, options?: ConnectOptions) => refusalOf(open(path, options))
  const rejections = async (reason: string) =>
    metric(await node.metrics(), 'fanfare_connection_rejections_total', `{reason="${reason}"}`)

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a,secret-b',
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_AUTH_HEADER: 'X-Monitor-Token',
      FANFARE_ALLOWED_ORIGINS: 'https://app.example.com,*.trusted.example',
      FANFARE_LOG_LEVEL: 'debug',
    })
  })
  afterAll(() => node.child.stop())

  it.each<[string, string, ConnectOptions]>([
    ['the configured header', '/ws/room', { headers: { 'X-Monitor-Token': 'secret-a' } }],
    ['Authorization: Bearer', '/ws/room', { headers: { Authorization: 'Bearer secret-b' } }],
    ['the query', '/ws/room?token=secret-a', {}],
    ['a subprotocol', '/ws/room', { subprotocols: ['token.secret-a'] }],
  ])('accepts a token from %s', async (_where, path, options) => {
    const client = await open(path, options)
    client.send('ping')
    expect(await client.nextText()).toBe('pong')
  })

  it('is answered with a subprotocol that carries no token, so that browsers accept it and no token is sent back', async () => {
    const client = await open('/ws/room', { subprotocols: ['token.secret-a', 'chat'] })
    expect(client.socket.protocol).toBe('chat')
  })

  it.each<[string, ConnectOptions]>([
    ['no token', {}],
    ['a wrong token', { headers: { 'X-Monitor-Token': 'secret-c' } }],
    ['a token in a header that is not the configured one', { token: 'secret-a' }],
    ['half a token', { headers: { 'X-Monitor-Token': 'secret-' } }],
    ['a JWT of another secret', { headers: { 'X-Monitor-Token': sign({ sub: 'eve' }, { key: 'other' }) } }],
    ['an unsigned JWT', { headers: { 'X-Monitor-Token': 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJldmUifQ.' } }],
    ['an expired JWT', { headers: { 'X-Monitor-Token': sign({ sub: 'eve', exp: 1 }) } }],
    ['a JWT of the future', { headers: { 'X-Monitor-Token': sign({ sub: 'eve', nbf: 9_999_999_999 }) } }],
    ['ten kilobytes', { headers: { 'X-Monitor-Token': 'x'.repeat(10_000) } }],
  ])('with %s is refused with 401', async (_what, options) => {
    const { status, headers } = await refused('/ws/room', options)
    expect(status).toBe(401)
    expect(headers['www-authenticate']).toBe('Bearer')
  })

  it('counts the reasons of refused tokens', async () => {
    const failures = (reason: string, exposition: string) =>
      metric(exposition, 'fanfare_auth_failures_total', `{reason="${reason}"}`)
    const before = await node.metrics()
    await refused('/ws/room')
    await refused('/ws/room', { headers: { 'X-Monitor-Token': sign({ exp: 1 }) } })
    const after = await node.metrics()
    expect(failures('missing', after) - failures('missing', before)).toBe(1)
    expect(failures('expired', after) - failures('expired', before)).toBe(1)
  })

  it('accepts a JWT in the channels that it names, and in no other', async () => {
    const token = sign({ sub: 'bob', channels: ['one', 'two'] })
    const headers = { 'X-Monitor-Token': token }
    const client = await open('/ws/two?events=join', { headers })
    expect(JSON.parse(await client.nextText())).toMatchObject({ event: 'join', user: 'bob' })
    expect((await refused('/ws/three', { headers })).status).toBe(403)
    expect(await rejections('channel_not_allowed')).toBe(1)
  })

  it.each([
    ['empty', '/ws/'],
    ['a control character', '/ws/a%0d%0ab'],
    ['NUL', '/ws/%00'],
    ['not ASCII', '/ws/gr%C3%BC%C3%9Fe'],
    ['not percent-encoded properly', '/ws/%E0%A4%A'],
    ['too long', `/ws/${'x'.repeat(256)}`],
  ])('to a channel whose name is %s is refused with 400', async (_what, path) => {
    const { status, body } = await refused(path, { headers: { 'X-Monitor-Token': 'secret-a' } })
    expect(status).toBe(400)
    expect(body).toContain('channel name')
  })

  it('to a channel whose name has 255 bytes is accepted', async () => {
    await open(`/ws/${'x'.repeat(255)}`, { headers: { 'X-Monitor-Token': 'secret-a' } })
  })

  it('that asks for unknown events is refused with 400', async () => {
    const { status } = await refused('/ws/room?events=joins', { headers: { 'X-Monitor-Token': 'secret-a' } })
    expect(status).toBe(400)
  })

  it.each([
    ['null', 'null'],
    ['another site', 'https://evil.example'],
    ['a suffix', 'https://app.example.com.evil.example'],
    ['a prefix', 'https://evilapp.example.com'],
    ['another scheme', 'http://app.example.com'],
    ['the parent of a wildcard', 'https://trusted.example'],
    ['nonsense', 'x'],
  ])('from the origin %s is refused with 403', async (_what, origin) => {
    const { status } = await refused('/ws/room', {
      headers: { 'X-Monitor-Token': 'secret-a', Origin: origin },
    })
    expect(status).toBe(403)
  })

  it.each([
    ['an allowed site', () => 'https://app.example.com'],
    ['a subdomain of a wildcard', () => 'https://a.b.trusted.example'],
    ['the node itself', () => node.httpUrl],
  ])('from %s is accepted', async (_what, origin) => {
    await open('/ws/room', { headers: { 'X-Monitor-Token': 'secret-a', Origin: origin() } })
  })

  it('of another version of the protocol is refused with 426', async () => {
    const options = { headers: { 'X-Monitor-Token': 'secret-a' }, protocolVersion: 8 }
    const { status, headers } = await refused('/ws/room', options)
    expect(status).toBe(426)
    expect(headers['sec-websocket-version']).toBe('13')
  })

  it.each<[string, string[], number]>([
    ['Upgrade among others', ['keep-alive, Upgrade'], 101],
    ['Upgrade in lower case', ['upgrade'], 101],
    ['close', ['close'], 400],
    ['something of the same length', ['other'], 400],
    ['close, then Upgrade on a line of its own', ['close', 'Upgrade'], 400],
    ['nothing', [], 400],
  ])(
    'whose Connection header is %s is answered, and the node continues',
    async (_what, connection, status) => {
      // The first subscription of a channel is answered after its handler has returned.
      expect(await handshakeStatus(node.port, `/ws/${randomUUID()}?token=secret-a`, connection)).toBe(status)
      await open('/ws/room?token=secret-a')
    },
  )

  it('that is plain HTTP is answered with 426, and with 404 for an unknown path', async () => {
    const response = await fetch(`${node.httpUrl}/ws/room`)
    expect(response.status).toBe(426)
    expect((await fetch(`${node.httpUrl}/nowhere`)).status).toBe(404)
  })

  it('writes no token to the log or a metric', async () => {
    await open('/ws/room?token=secret-a')
    await refused('/ws/room?token=secret-wrong')
    const client = await open('/ws/room', { subprotocols: ['token.secret-b'] })
    client.close()
    await client.closed
    expect(node.child.output).toContain('connection closed')
    expect(node.child.output).not.toMatch(/secret/)
    expect(await node.metrics()).not.toMatch(/secret/)
  })
})

describe('a node at its connection limit', () => {
  it('refuses further connections with 503 and Retry-After until one closes', async () => {
    const node = await FanfareProcess.start({
      FANFARE_AUTH_ANONYMOUS: 'true',
      FANFARE_LOG_LEVEL: 'debug',
      FANFARE_MAX_CONNECTIONS: '2',
    })
    const open = (path: string) => RawClient.connect(`${node.wsUrl}${path}`)
    const first = await open('/ws/room')
    await open('/echo')
    const { status, headers } = await refusalOf(open('/ws/room'))
    expect(status).toBe(503)
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
    first.close()
    await node.child.line(/connection closed/)
    await open('/ws/room')
    await node.child.stop()
  })
})

describe('a node that accepts anonymous clients', () => {
  it('still refuses a wrong token', async () => {
    const node = await FanfareProcess.start({
      FANFARE_AUTH_ANONYMOUS: 'true',
      FANFARE_AUTH_TOKENS: 'secret-a',
    })
    const url = `${node.wsUrl}/ws/room?events=join`
    expect(JSON.parse(await (await RawClient.connect(url)).nextText())).toMatchObject({ user: '' })
    expect((await refusalOf(RawClient.connect(url, { token: 'wrong' }))).status).toBe(401)
    await node.child.stop()
  })
})
