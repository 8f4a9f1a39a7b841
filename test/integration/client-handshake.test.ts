import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { metric } from '../support/metric.js'
import { type ConnectOptions, RawClient, refusalOf } from '../support/raw-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const PATH = '/connection/websocket'

describe('a handshake of the Centrifuge protocol', () => {
  let node: FanfareProcess
  const open = (options?: ConnectOptions, path = PATH) => RawClient.connect(`${node.wsUrl}${path}`, options)
  const refused = (options?: ConnectOptions) => refusalOf(open(options))
  const rejections = async (reason: string) =>
    metric(await node.metrics(), 'fanfare_connection_rejections_total', `{reason="${reason}"}`)

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a',
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_ALLOWED_ORIGINS: 'https://app.example.com',
    })
  })
  afterAll(() => node.child.stop())

  it.each<[string, string[], string]>([
    ['none', [], ''],
    ['centrifuge-json', ['centrifuge-json'], 'centrifuge-json'],
    ['centrifuge-json among others', ['centrifuge-protobuf', 'centrifuge-json'], 'centrifuge-json'],
  ])('that offers the subprotocol %s is answered with it', async (_what, subprotocols, answered) => {
    const client = await open({ subprotocols })
    expect(client.socket.protocol).toBe(answered)
    client.send('{"id":1,"connect":{"token":"secret-a"}}')
    expect(JSON.parse(await client.nextText())).toMatchObject({
      id: 1,
      connect: { client: expect.any(String) },
    })
  })

  it.each(['centrifuge-protobuf', 'chat', 'token.secret-a', 'Centrifuge-JSON'])(
    'that offers only the subprotocol %s is refused with 400',
    async (subprotocol) => {
      const before = await rejections('subprotocol')
      const { status, body } = await refused({ subprotocols: [subprotocol] })
      expect(status).toBe(400)
      expect(body).toContain('centrifuge-json')
      expect((await rejections('subprotocol')) - before).toBe(1)
    },
  )

  it.each(['https://evil.example', 'null', 'http://app.example.com'])(
    'from the origin %s is refused with 403',
    async (origin) => expect((await refused({ headers: { Origin: origin } })).status).toBe(403),
  )

  it.each([
    ['an allowed site', () => 'https://app.example.com'],
    ['the node itself', () => node.httpUrl],
  ])('from %s is accepted', async (_what, origin) => {
    await open({ headers: { Origin: origin() } })
  })

  it('of another version of the protocol is refused with 426', async () => {
    expect((await refused({ protocolVersion: 8 })).status).toBe(426)
  })

  it('that is plain HTTP is answered with 426, and with 404 below the path', async () => {
    expect((await fetch(`${node.httpUrl}${PATH}`)).status).toBe(426)
    expect((await fetch(`${node.httpUrl}${PATH}/more`)).status).toBe(404)
  })

  it('needs no token: a wrong one is refused with the connect command', async () => {
    const client = await open({ token: 'wrong' })
    client.send('{"id":1,"connect":{"token":"wrong"}}')
    expect(await client.closed).toEqual({ code: 3500, reason: 'invalid token' })
    const withoutToken = await open({ token: 'secret-a' }, `${PATH}?token=secret-a`)
    withoutToken.send('{"id":1,"connect":{}}')
    expect((await withoutToken.closed).code).toBe(3501)
  })

  it('is followed by a connect reply with every channel of the token, of any name', async () => {
    const channels = ['room', '__proto__', 'constructor', '17']
    const client = await open()
    const token = sign({ sub: 'ann', channels })
    client.send(JSON.stringify({ id: 1, connect: { token } }))
    const { connect } = JSON.parse(await client.nextText()) as { connect: { subs: object } }
    expect(Object.keys(connect.subs).sort()).toEqual(channels.sort())
  })

  it('takes a connection slot before the client has authenticated', async () => {
    const full = await FanfareProcess.start({
      FANFARE_AUTH_ANONYMOUS: 'true',
      FANFARE_MAX_CONNECTIONS: '2',
      FANFARE_LOG_LEVEL: 'debug',
    })
    const connect = (path: string) => RawClient.connect(`${full.wsUrl}${path}`)
    const first = await connect(PATH)
    await connect('/ws/room')
    const { status, headers } = await refusalOf(connect(PATH))
    expect(status).toBe(503)
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
    first.close()
    await full.child.line(/connection closed/)
    await connect(PATH)
    await full.child.stop()
  })
})
