import { createSigner } from 'fast-jwt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { metric } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'

const SECRET = 'a secret that signs tokens, long enough'
const tokenOf = (claims: object) => createSigner({ key: SECRET, algorithm: 'HS256' })(claims)

const MEMBERS = { allow_subscribe_for_client: true, allow_publish_for_subscriber: true }
const NAMESPACES = [
  { name: 'chat', ...MEMBERS, presence: true, join_leave: true, allow_user_limited_channels: true },
  { name: 'anybody', ...MEMBERS, allow_subscribe_for_anonymous: true },
  { name: 'news', allow_subscribe_for_client: true, presence: true },
  { name: 'door', ...MEMBERS, join_leave: true },
  { name: 'numbers', ...MEMBERS, channel_regex: '^\\d+$' },
  { name: 'data', ...MEMBERS, publication_data_format: 'json' },
  { name: 'closed', allow_publish_for_subscriber: true },
]

describe('a raw client of a node with namespaces', () => {
  let node: FanfareProcess
  const ann = tokenOf({ sub: 'ann' })
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
    'is refused with 403 in %s, which belongs to no namespace',
    async (channel) => {
      const { status, body } = await refused(channel, ann)
      expect(status).toBe(403)
      expect(body).toContain('no such namespace')
      // Not even with a token that names it.
      expect((await refused(channel, tokenOf({ sub: 'ann', channels: [channel] }))).status).toBe(403)
    },
  )

  it('joins where the namespace lets its user join, and nowhere else', async () => {
    await open('chat:room', ann)
    await open('anybody:room', ann)
    await open('anybody:room')
    await open('numbers:17', ann)
    for (const [channel, token] of [
      ['closed:room', ann],
      ['chat:room', undefined],
    ] as const) {
      expect((await refused(channel, token)).body).toContain('the token must name this channel')
    }
  })

  it('joins whatever channel its token names, and no other', async () => {
    const token = tokenOf({ sub: 'ann', channels: ['closed:room'] })
    await open('closed:room', token)
    expect((await refused('chat:room', token)).body).toContain('does not allow this channel')
  })

  it('joins no channel that its namespace does not have, not even with a token that names it', async () => {
    for (const channel of ['numbers:seventeen', 'numbers:', '$numbers:x']) {
      for (const token of [ann, tokenOf({ sub: 'ann', channels: [channel] })]) {
        const { status, body } = await refused(channel, token)
        expect([channel, status]).toEqual([channel, 403])
        expect(body).toContain('may not join')
      }
    }
  })

  it('joins a private channel only with a token that names it', async () => {
    for (const token of [ann, undefined, tokenOf({ sub: 'ann', channels: ['chat:room', '$chat:other'] })]) {
      expect((await refused('$chat:room', token)).status).toBe(403)
    }
    const { body } = await refused('$chat:room', ann)
    expect(body).toContain('must name this channel')
    const named = tokenOf({ sub: 'ann', channels: ['$chat:room'] })
    const [speaker, listener] = await Promise.all([open('$chat:room', named), open('$chat:room', named)])
    speaker.send('in private')
    expect(await listener.nextText()).toBe('in private')
    // A subscription's token is for clients that can send it with their command.
    expect((await refused('$chat:room', tokenOf({ sub: 'ann', channel: '$chat:room' }))).status).toBe(401)
  })

  it('joins a channel of certain users as one of them', async () => {
    const channel = 'chat:talk#ann,bob'
    await open(channel, ann)
    await open(channel, tokenOf({ sub: 'bob' }))
    for (const claims of [{ sub: 'eve' }, { sub: 'ann,bob' }, {}, { sub: 'eve', channels: [channel] }]) {
      expect((await refused(channel, tokenOf(claims))).body).toContain('may not join')
    }
    expect((await refused(channel)).status).toBe(403)
    // Where the namespace does not let them in without a token, they need one that names it.
    expect((await refused('news:talk#ann', ann)).body).toContain('must name this channel')
    await open('news:talk#ann', tokenOf({ sub: 'ann', channels: ['news:talk#ann'] }))
  })

  it('that says something else than JSON where only that is allowed is closed with 1003', async () => {
    const [speaker, listener] = await Promise.all([open('data:room', ann), open('data:room', ann)])
    speaker.send('{"some": "data"}')
    speaker.send('text')
    expect(await speaker.closed).toEqual({ code: 1003, reason: 'This channel takes JSON only' })
    const binary = await open('data:room', ann)
    binary.send(Buffer.from('{}'))
    expect((await binary.closed).code).toBe(1003)
    const last = await open('data:room', ann)
    last.send('17')
    expect(await listener.nextTexts(2)).toEqual(['{"some": "data"}', '17'])
  })

  it('that speaks where it may not is closed with 1008, and nobody hears it', async () => {
    const [speaker, listener] = await Promise.all([open('news:today', ann), open('news:today', ann)])
    speaker.send('ping')
    expect(await speaker.nextText()).toBe('pong')
    speaker.send('false news')
    expect(await speaker.closed).toEqual({ code: 1008, reason: 'Publishing is not allowed in this channel' })
    expect((await publish('news:today', { true: 'news' })).status).toBe(200)
    expect(await listener.nextText()).toBe('{"true":"news"}')
    const closes = metric(
      await node.metrics(),
      'fanfare_connections_closed_total',
      '{protocol="raw",code="1008"}',
    )
    expect(closes).toBe(1)
  })

  it('is told who comes and goes only where the namespace tells it, and how many only where it knows', async () => {
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
      const guest = await open(channel, ann)
      guest.close()
      await guest.closed
    }
    const seen = async (watcher: RawClient) =>
      (await watcher.nextTexts(2)).map((text) => JSON.parse(text) as unknown)
    const leave = { ...join, event: 'leave' }
    expect(await seen(chat)).toEqual([
      { ...join, online: 2 },
      { ...leave, online: 1 },
    ])
    expect(await seen(door)).toEqual([join, leave])
    await publish('news:events', 'the first that is heard')
    expect(await news.nextText()).toBe('"the first that is heard"')
  })

  it('is counted by its namespace', async () => {
    const clients = await Promise.all([open('numbers:1', ann), open('numbers:2', ann)])
    clients[0]?.send('hello')
    const listener = await open('numbers:1', ann)
    clients[0]?.send('again')
    expect(await listener.nextText()).toBe('again')
    const exposition = await node.metrics()
    const labels = '{namespace="numbers",source="raw"}'
    expect(metric(exposition, 'fanfare_publications_total', labels)).toBe(2)
    expect(metric(exposition, 'fanfare_subscriptions', '{namespace="numbers"}')).toBeGreaterThanOrEqual(3)
  })
})
