import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

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

// V8 stores strings with characters up to ÿ with one byte each, so that they take other code paths than wider ones.
describe.each([
  ['é, ü and ñ', 'latin', 'José grüßt Ñandú'],
  ['€ and emoji beside é', 'wide', 'José: 5 € 😀'],
])('a text with %s', (_what, prefix, text) => {
  const token = (user: string) => sign({ sub: `${text} ${user}`, info: { name: text } })
  const connect = (user = 'ann') => SdkClient.connect(node.wsUrl, { token: token(user) })
  const open = (path: string, user = 'bob') =>
    RawClient.connect(`${node.wsUrl}${path}`, { token: token(user) })
  const channelOf = (name: string) => `${prefix}-${name}`

  it('is delivered from raw clients to raw clients and SDKs', async () => {
    const channel = channelOf('raw')
    const [publisher, subscriber] = [await open(`/ws/${channel}`), await open(`/ws/${channel}`)]
    const sdk = await connect()
    const subscription = await sdk.subscribe(channel)
    publisher.send(text)
    expect(await subscriber.nextText()).toBe(text)
    expect(await subscription.data(1)).toEqual([text])
    for (const client of [publisher, subscriber, sdk]) client.close()
  })

  it('is delivered from SDKs to SDKs and raw clients', async () => {
    const channel = channelOf('sdk')
    const [publisher, subscriber] = [await connect(), await connect()]
    const raw = await open(`/ws/${channel}`)
    const [own, subscription] = [await publisher.subscribe(channel), await subscriber.subscribe(channel)]
    await own.sdk.publish({ text })
    expect(await subscription.data(1)).toEqual([{ text }])
    expect(subscription.publications.items[0]?.info).toMatchObject({
      user: `${text} ann`,
      connInfo: { name: text },
    })
    expect(JSON.parse(await raw.nextText())).toEqual({ text })
    for (const client of [publisher, subscriber, raw]) client.close()
  })

  it('is in replies with presence and history, without a reconnect', async () => {
    const channel = channelOf('asked')
    const sdk = await connect()
    const { sdk: subscription } = await sdk.subscribe(channel)
    await subscription.publish(text)
    const { clients } = await subscription.presence()
    expect(Object.values(clients)).toMatchObject([{ user: `${text} ann`, connInfo: { name: text } }])
    const { publications } = await subscription.history({ limit: 10 })
    expect(publications.map(({ data }) => data as unknown)).toEqual([text])
    expect(sdk.connecting.items).toHaveLength(1)
    sdk.close()
  })

  it('is in joins and leaves', async () => {
    const channel = channelOf('comings')
    const sdk = await connect()
    const subscription = await sdk.subscribe(channel, { joinLeave: true })
    const raw = await open(`/ws/${channel}?events=join,leave`)
    await raw.nextText()
    const other = await connect('carol')
    await other.subscribe(channel)
    const user = `${text} carol`
    expect((await subscription.joins.find(({ info }) => info.user === user)).info.connInfo).toEqual({
      name: text,
    })
    expect(JSON.parse(await raw.nextText())).toMatchObject({ event: 'join', user })
    other.close()
    await subscription.leaves.find(({ info }) => info.user === user)
    expect(JSON.parse(await raw.nextText())).toMatchObject({ event: 'leave', user })
    raw.close()
    sdk.close()
  })

  it('is in the error of a command', async () => {
    const client = await open('/connection/websocket')
    client.send(JSON.stringify({ id: 1, connect: { token: token('dan') } }))
    await client.nextText()
    client.send(JSON.stringify({ id: 2, [text]: {} }))
    expect(JSON.parse(await client.nextText())).toMatchObject({
      error: { message: expect.stringContaining(text) },
    })
    client.close()
  })

  it('is in answers of the server API', async () => {
    const channel = channelOf('api')
    const sdk = await connect()
    const subscription = await sdk.subscribe(channel)
    await callApi(node, 'publish', { channel, data: text, tags: { text } })
    expect(await subscription.data(1)).toEqual([text])
    expect(subscription.publications.items[0]?.tags).toEqual({ text })
    const history = await callApi(node, 'history', { channel, limit: 10 })
    expect(history.body.result?.['publications']).toMatchObject([{ data: text, tags: { text } }])
    const presence = await callApi(node, 'presence', { channel })
    expect(Object.values(presence.body.result?.['presence'] as object)).toMatchObject([
      { user: `${text} ann`, conn_info: { name: text } },
    ])
    const refused = await callApi(node, 'publish', { channel, data: 1, [text]: 1 })
    expect(refused.body.error?.message).toContain(text)
    sdk.close()
  })

  it('is the reason of a close', async () => {
    const [sdk, raw] = [await connect('eve'), await open(`/ws/${channelOf('ended')}`, 'eve')]
    await callApi(node, 'disconnect', { user: `${text} eve`, code: 4500, reason: text })
    expect(await raw.closed).toEqual({ code: 4500, reason: text })
    expect(await sdk.disconnected.first(1)).toEqual([{ code: 4500, reason: text }])
  })

  it('is pushed with a server-side subscription', async () => {
    const sdk = await connect('fred')
    await callApi(node, 'subscribe', {
      user: `${text} fred`,
      channel: channelOf('given'),
      data: { text },
    })
    await sdk.subscribed.first(1)
    expect(sdk.subscribed.items).toMatchObject([{ channel: channelOf('given'), data: { text } }])
    sdk.close()
  })

  it('cannot be the name of a channel, which fails only that subscription', async () => {
    const sdk = await connect()
    const refused = sdk.add(text)
    expect(await refused.unsubscribed.first(1)).toMatchObject([{ code: 107 }])
    await sdk.subscribe(channelOf('other'))
    expect(sdk.connecting.items).toHaveLength(1)
    sdk.close()
  })
})
