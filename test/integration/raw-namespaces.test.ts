import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { metric } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const SUBSCRIBERS_PUBLISH = { allow_subscribe_for_client: true, allow_publish_for_subscriber: true }
const NAMESPACES = [
  {
    name: 'chat',
    ...SUBSCRIBERS_PUBLISH,
    presence: true,
    join_leave: true,
    allow_user_limited_channels: true,
  },
  { name: 'public', ...SUBSCRIBERS_PUBLISH, allow_subscribe_for_anonymous: true },
  { name: 'news', allow_subscribe_for_client: true, presence: true },
  { name: 'door', ...SUBSCRIBERS_PUBLISH, join_leave: true },
  { name: 'numbers', ...SUBSCRIBERS_PUBLISH, channel_regex: '^\\d+$' },
  { name: 'data', ...SUBSCRIBERS_PUBLISH, publication_data_format: 'json' },
  { name: 'closed', allow_publish_for_subscriber: true },
]

describe('a raw client of a node with namespaces', () => {
  let node: FanfareProcess
  const ann = sign({ sub: 'ann' })
  const open = (channel: string, token?: string, query = '') =>
    RawClient.connect(`${node.wsUrl}/ws/${encodeURIComponent(channel)}${query}`, {
      ...(token !== undefined && { token }),
    })
  const refused = (channel: string, token?: string) => refusalOf(open(channel, token))
  const publish = (channel: string, data: unknown) => callApi(node, 'publish', { channel, data })

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_NAMESPACES: JSON.stringify(NAMESPACES),
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_AUTH_ANONYMOUS: 'true',
      FANFARE_API_KEY: API_KEY,
    })
  })
  afterAll(() => node.child.stop())

  it.each(['nowhere:room', 'room', 'Chat:room', '$nowhere:room', ':room', '__proto__:room'])(
    'is refused with 403 in %s, which has no namespace',
    async (channel) => {
      const { status, body } = await refused(channel, ann)
      expect(status).toBe(403)
      expect(body).toContain('no such namespace')
      // Not even with a token that names it.
      expect((await refused(channel, sign({ sub: 'ann', channels: [channel] }))).status).toBe(403)
    },
  )

  it('subscribes to channels that the namespace allows for its user, and to no other', async () => {
    await open('chat:room', ann)
    await open('public:room', ann)
    await open('public:room')
    await open('numbers:17', ann)
    for (const [channel, token] of [
      ['closed:room', ann],
      ['chat:room', undefined],
    ] as const) {
      expect((await refused(channel, token)).body).toContain('the token must name this channel')
    }
  })

  it('subscribes to the channels of its token, and to no other', async () => {
    const token = sign({ sub: 'ann', channels: ['closed:room'] })
    await open('closed:room', token)
    expect((await refused('chat:room', token)).body).toContain('does not allow this channel')
  })

  it('subscribes to no channel that the namespace excludes, not even with a token that names it', async () => {
    for (const channel of ['numbers:seventeen', 'numbers:', '$numbers:x']) {
      for (const token of [ann, sign({ sub: 'ann', channels: [channel] })]) {
        const { status, body } = await refused(channel, token)
        expect([channel, status]).toEqual([channel, 403])
        expect(body).toContain('may not join')
      }
    }
  })

  it('subscribes to a private channel only with a token that names it', async () => {
    for (const token of [ann, undefined, sign({ sub: 'ann', channels: ['chat:room', '$chat:other'] })]) {
      expect((await refused('$chat:room', token)).status).toBe(403)
    }
    const { body } = await refused('$chat:room', ann)
    expect(body).toContain('must name this channel')
    const named = sign({ sub: 'ann', channels: ['$chat:room'] })
    const [publisher, subscriber] = await Promise.all([open('$chat:room', named), open('$chat:room', named)])
    publisher.send('in private')
    expect(await subscriber.nextText()).toBe('in private')
    // A subscription token is only for clients that send it with a subscribe command.
    expect((await refused('$chat:room', sign({ sub: 'ann', channel: '$chat:room' }))).status).toBe(401)
  })

  it('subscribes to a user-limited channel as one of its users', async () => {
    const channel = 'chat:talk#ann,bob'
    await open(channel, ann)
    await open(channel, sign({ sub: 'bob' }))
    for (const claims of [{ sub: 'eve' }, { sub: 'ann,bob' }, {}, { sub: 'eve', channels: [channel] }]) {
      expect((await refused(channel, sign(claims))).body).toContain('may not join')
    }
    expect((await refused(channel)).status).toBe(403)
    // When the namespace requires a token, its users need one that names the channel.
    expect((await refused('news:talk#ann', ann)).body).toContain('must name this channel')
    await open('news:talk#ann', sign({ sub: 'ann', channels: ['news:talk#ann'] }))
  })

  it('that publishes other data than JSON in a JSON-only channel is closed with 1003', async () => {
    const [publisher, subscriber] = await Promise.all([open('data:room', ann), open('data:room', ann)])
    publisher.send('{"some": "data"}')
    publisher.send('text')
    expect(await publisher.closed).toEqual({ code: 1003, reason: 'This channel takes JSON only' })
    const binary = await open('data:room', ann)
    binary.send(Buffer.from('{}'))
    expect((await binary.closed).code).toBe(1003)
    const last = await open('data:room', ann)
    last.send('17')
    expect(await subscriber.nextTexts(2)).toEqual(['{"some": "data"}', '17'])
  })

  it('that publishes without permission is closed with 1008, and its publication is not delivered', async () => {
    const [publisher, subscriber] = await Promise.all([open('news:today', ann), open('news:today', ann)])
    publisher.send('ping')
    expect(await publisher.nextText()).toBe('pong')
    publisher.send('false news')
    expect(await publisher.closed).toEqual({
      code: 1008,
      reason: 'Publishing is not allowed in this channel',
    })
    expect((await publish('news:today', { true: 'news' })).status).toBe(200)
    expect(await subscriber.nextText()).toBe('{"true":"news"}')
    const closes = metric(
      await node.metrics(),
      'fanfare_connections_closed_total',
      '{protocol="raw",code="1008"}',
    )
    expect(closes).toBe(1)
  })

  it('receives joins and leaves only with join_leave, and the number online only with presence', async () => {
    const events = '?events=join,leave'
    const [chat, door, news] = await Promise.all([
      open('chat:events', ann, events),
      open('door:events', ann, events),
      open('news:events', ann, events),
    ])
    const join = { event: 'join', client: expect.any(String), user: 'ann' }
    expect(JSON.parse(await chat.nextText())).toEqual({ ...join, online: 1 })
    expect(JSON.parse(await door.nextText())).toEqual(join)
    for (const channel of ['chat:events', 'door:events', 'news:events']) {
      const visitor = await open(channel, ann)
      visitor.close()
      await visitor.closed
    }
    const nextEvents = async (watcher: RawClient) =>
      (await watcher.nextTexts(2)).map((text) => JSON.parse(text) as unknown)
    const leave = { ...join, event: 'leave' }
    expect(await nextEvents(chat)).toEqual([
      { ...join, online: 2 },
      { ...leave, online: 1 },
    ])
    expect(await nextEvents(door)).toEqual([join, leave])
    await publish('news:events', 'the first frame')
    expect(await news.nextText()).toBe('"the first frame"')
  })

  it('is counted in the metrics of its namespace', async () => {
    const clients = await Promise.all([open('numbers:1', ann), open('numbers:2', ann)])
    clients[0]?.send('hello')
    const subscriber = await open('numbers:1', ann)
    clients[0]?.send('again')
    expect(await subscriber.nextText()).toBe('again')
    const exposition = await node.metrics()
    const labels = '{namespace="numbers",source="raw"}'
    expect(metric(exposition, 'fanfare_publications_total', labels)).toBe(2)
    expect(metric(exposition, 'fanfare_subscriptions', '{namespace="numbers"}')).toBeGreaterThanOrEqual(3)
  })
})
