import { createSigner } from 'fast-jwt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

const SECRET = 'a secret that signs tokens, long enough'
const sign = createSigner({ key: SECRET, algorithm: 'HS256' })

let node: FanfareProcess

beforeAll(async () => {
  node = await FanfareProcess.start({
    FANFARE_AUTH_HMAC_SECRET: SECRET,
    FANFARE_API_KEY: API_KEY,
    FANFARE_NAMESPACES: JSON.stringify([
      {
        name: '',
        allow_subscribe_for_client: true,
        allow_publish_for_client: true,
        allow_presence_for_subscriber: true,
        allow_history_for_subscriber: true,
        presence: true,
        join_leave: true,
        history_size: 100,
        history_ttl: '1m',
      },
    ]),
  })
})
afterAll(() => node.child.stop())

// V8 keeps strings whose characters are all up to ÿ with one byte each: what goes right for others may go wrong for these.
describe.each([
  ['é, ü and ñ', 'latin', 'José grüßt Ñandú'],
  ['€ and emoji beside é', 'wide', 'José: 5 € 😀'],
])('a text with %s', (_what, prefix, said) => {
  const token = (user: string) => sign({ sub: `${said} ${user}`, info: { name: said } })
  const connect = (user = 'ann') => SdkClient.connect(node.wsUrl, { token: token(user) })
  const open = (path: string, user = 'bob') =>
    RawClient.connect(`${node.wsUrl}${path}`, { token: token(user) })
  const channelOf = (name: string) => `${prefix}-${name}`

  it('goes from raw clients to raw clients and SDKs', async () => {
    const channel = channelOf('raw')
    const [speaker, listener] = [await open(`/ws/${channel}`), await open(`/ws/${channel}`)]
    const sdk = await connect()
    const heard = await sdk.subscribe(channel)
    speaker.send(said)
    expect(await listener.nextText()).toBe(said)
    expect(await heard.data(1)).toEqual([said])
    for (const client of [speaker, listener, sdk]) client.close()
  })

  it('goes from SDKs to SDKs and raw clients', async () => {
    const channel = channelOf('sdk')
    const [speaker, listener] = [await connect(), await connect()]
    const raw = await open(`/ws/${channel}`)
    const [own, heard] = [await speaker.subscribe(channel), await listener.subscribe(channel)]
    await own.sdk.publish({ said })
    expect(await heard.data(1)).toEqual([{ said }])
    expect(heard.publications.items[0]?.info).toMatchObject({ user: `${said} ann`, connInfo: { name: said } })
    expect(JSON.parse(await raw.nextText())).toEqual({ said })
    for (const client of [speaker, listener, raw]) client.close()
  })

  it('comes with presence and history, on a connection that stays', async () => {
    const channel = channelOf('asked')
    const sdk = await connect()
    const { sdk: subscription } = await sdk.subscribe(channel)
    await subscription.publish(said)
    const { clients } = await subscription.presence()
    expect(Object.values(clients)).toMatchObject([{ user: `${said} ann`, connInfo: { name: said } }])
    const { publications } = await subscription.history({ limit: 10 })
    expect(publications.map(({ data }) => data as unknown)).toEqual([said])
    expect(sdk.connecting.items).toHaveLength(1)
    sdk.close()
  })

  it('comes with those who join and leave', async () => {
    const channel = channelOf('comings')
    const sdk = await connect()
    const seen = await sdk.subscribe(channel, { joinLeave: true })
    const raw = await open(`/ws/${channel}?events=join,leave`)
    await raw.nextText()
    const other = await connect('carol')
    await other.subscribe(channel)
    const user = `${said} carol`
    expect((await seen.joins.find(({ info }) => info.user === user)).info.connInfo).toEqual({ name: said })
    expect(JSON.parse(await raw.nextText())).toMatchObject({ event: 'join', user })
    other.close()
    await seen.leaves.find(({ info }) => info.user === user)
    expect(JSON.parse(await raw.nextText())).toMatchObject({ event: 'leave', user })
    raw.close()
    sdk.close()
  })

  it('is told to a client in the error of a command', async () => {
    const line = await open('/connection/websocket')
    line.send(JSON.stringify({ id: 1, connect: { token: token('dan') } }))
    await line.nextText()
    line.send(JSON.stringify({ id: 2, [said]: {} }))
    expect(JSON.parse(await line.nextText())).toMatchObject({
      error: { message: expect.stringContaining(said) },
    })
    line.close()
  })

  it('is in what the server API answers', async () => {
    const channel = channelOf('api')
    const sdk = await connect()
    const heard = await sdk.subscribe(channel)
    await callApi(node, 'publish', { channel, data: said, tags: { said } })
    expect(await heard.data(1)).toEqual([said])
    expect(heard.publications.items[0]?.tags).toEqual({ said })
    const history = await callApi(node, 'history', { channel, limit: 10 })
    expect(history.body.result?.['publications']).toMatchObject([{ data: said, tags: { said } }])
    const presence = await callApi(node, 'presence', { channel })
    expect(Object.values(presence.body.result?.['presence'] as object)).toMatchObject([
      { user: `${said} ann`, conn_info: { name: said } },
    ])
    const refused = await callApi(node, 'publish', { channel, data: 1, [said]: 1 })
    expect(refused.body.error?.message).toContain(said)
    sdk.close()
  })

  it('is the reason of a close', async () => {
    const [sdk, raw] = [await connect('eve'), await open(`/ws/${channelOf('ended')}`, 'eve')]
    await callApi(node, 'disconnect', { user: `${said} eve`, code: 4500, reason: said })
    expect(await raw.closed).toEqual({ code: 4500, reason: said })
    expect(await sdk.disconnected.first(1)).toEqual([{ code: 4500, reason: said }])
  })

  it('is pushed with a subscription that the server makes', async () => {
    const sdk = await connect('fred')
    await callApi(node, 'subscribe', {
      user: `${said} fred`,
      channel: channelOf('given'),
      data: { said },
    })
    await sdk.subscribed.first(1)
    expect(sdk.subscribed.items).toMatchObject([{ channel: channelOf('given'), data: { said } }])
    sdk.close()
  })

  it('cannot be the name of a channel, which costs a client nothing but that subscription', async () => {
    const sdk = await connect()
    const refused = sdk.add(said)
    expect(await refused.unsubscribed.first(1)).toMatchObject([{ code: 107 }])
    await sdk.subscribe(channelOf('other'))
    expect(sdk.connecting.items).toHaveLength(1)
    sdk.close()
  })
})
