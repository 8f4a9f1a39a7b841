import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const inOneHour = () => Math.floor(Date.now() / 1_000) + 3_600

describe('the official SDK', () => {
  let node: FanfareProcess
  const connect = (token: string, options = {}) => SdkClient.connect(node.wsUrl, { token, ...options })

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a,bob=secret-b',
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_API_KEY: API_KEY,
      FANFARE_LOG_LEVEL: 'debug',
    })
  })
  afterAll(() => node.child.stop())

  it('connects with a static token or a JWT', async () => {
    const alice = await connect('secret-a')
    const carol = await connect(sign({ sub: 'carol', exp: inOneHour() }))
    expect(alice.connected.items[0]?.client).toMatch(/^[0-9a-f-]{36}$/)
    expect(carol.connected.items[0]?.transport).toBe('websocket')
    for (const client of [alice, carol]) client.close()
  })

  it('receives the publications of others and its own, in order', async () => {
    const alice = await connect('secret-a')
    const bob = await connect('secret-b')
    const [ofAlice, ofBob] = [await alice.subscribe('room'), await bob.subscribe('room')]
    for (let index = 0; index < 20; index++) await ofAlice.sdk.publish({ index })
    const published = Array.from({ length: 20 }, (_, index) => ({ index }))
    expect(await ofBob.data(20)).toEqual(published)
    expect(await ofAlice.data(20)).toEqual(published)
    expect(ofBob.publications.items[0]?.info).toMatchObject({
      user: 'alice',
      client: alice.connected.items[0]?.client,
    })
    for (const client of [alice, bob]) client.close()
  })

  it('shares channels with raw clients', async () => {
    const alice = await connect('secret-a')
    const subscription = await alice.subscribe('shared')
    const raw = await RawClient.connect(`${node.wsUrl}/ws/shared`, { token: 'secret-b' })
    await subscription.sdk.publish({ text: 'grüße' })
    expect(await raw.nextText()).toBe('{"text":"grüße"}')
    for (const data of ['{"n": 1}', '{\n "n": 2\n}', 'no JSON', Buffer.from([0, 255])]) raw.send(data)
    expect(await subscription.data(5)).toEqual([
      { text: 'grüße' },
      { n: 1 },
      { n: 2 },
      'no JSON',
      { base64: 'AP8=' },
    ])
    alice.close()
    raw.close()
  })

  it('receives the presence of a channel, and its joins and leaves', async () => {
    const info = { name: 'Carol' }
    const carol = await connect(sign({ sub: 'carol', info }))
    const subscription = await carol.subscribe('lobby', { joinLeave: true })
    const alice = await connect('secret-a')
    await alice.subscribe('lobby')
    const raw = await RawClient.connect(`${node.wsUrl}/ws/lobby`, { token: 'secret-b' })
    const joined = await subscription.joins.find(({ info: who }) => who.user === 'bob')
    const { clients } = await subscription.sdk.presence()
    expect(
      Object.values(clients)
        .map(({ user }) => user)
        .sort(),
    ).toEqual(['alice', 'bob', 'carol'])
    expect(Object.values(clients).find(({ user }) => user === 'carol')?.connInfo).toEqual(info)
    expect(await subscription.sdk.presenceStats()).toMatchObject({ numClients: 3, numUsers: 3 })
    raw.close()
    alice.close()
    expect((await subscription.leaves.find(({ info: who }) => who.user === 'bob')).info.client).toBe(
      joined.info.client,
    )
    await subscription.leaves.find(({ info: who }) => who.user === 'alice')
    expect(await subscription.sdk.presenceStats()).toMatchObject({ numClients: 1, numUsers: 1 })
    carol.close()
  })

  it('receives no publications of a channel after it has unsubscribed', async () => {
    const alice = await connect('secret-a')
    const subscription = await alice.subscribe('left')
    const other = await alice.subscribe('other')
    subscription.sdk.unsubscribe()
    await callApi(node, 'broadcast', { channels: ['left', 'other'], data: 1 })
    await other.publications.first(1)
    expect(subscription.publications.items).toEqual([])
    alice.close()
  })

  it('is subscribed by the server to the channels of its token', async () => {
    const token = sign({ sub: 'carol', channels: ['personal', 'news'] })
    const carol = await connect(token)
    await callApi(node, 'publish', { channel: 'personal', data: 'for carol' })
    const publications = await carol.publications.first(1)
    expect(publications[0]).toMatchObject({ channel: 'personal', data: 'for carol' })
    carol.close()
  })

  it('receives no joins in a server-side subscription, unless the namespace enables them', async () => {
    const carol = await connect(sign({ sub: 'carol', channels: ['hall'] }))
    const alice = await connect('secret-a')
    const subscription = await alice.subscribe('hall', { joinLeave: true })
    await subscription.joins.find(({ info }) => info.user === 'alice')
    await subscription.sdk.publish('after the join')
    await carol.publications.first(1)
    expect(carol.joins.items).toEqual([])
    for (const client of [carol, alice]) client.close()
  })

  it('receives errors for rpc without hooks, an invalid channel name and unavailable history', async () => {
    const alice = await connect('secret-a')
    await expect(alice.sdk.rpc('sum', [1, 2])).rejects.toMatchObject({ code: 108 })
    await expect(alice.sdk.publish('grün', 1)).rejects.toMatchObject({ code: 107 })
    await expect(alice.sdk.history('room', { limit: 1 })).rejects.toMatchObject({ code: 108 })
    alice.close()
  })

  it('does not reconnect after a wrong token or without one', async () => {
    for (const [options, code] of [
      [{ token: 'wrong' }, 3500],
      [{}, 3501],
    ] as const) {
      const client = new SdkClient(node.wsUrl, options)
      client.sdk.connect()
      expect((await client.disconnected.first(1))[0]?.code).toBe(code)
    }
  })

  it('fetches a new token when its own has expired, at connect and later', async () => {
    const tokens = [
      sign({ sub: 'carol', exp: 1 }),
      sign({ sub: 'carol', exp: Math.floor(Date.now() / 1_000) + 2 }),
      sign({ sub: 'carol', exp: inOneHour() }),
    ]
    let fetched = 0
    const getToken = () => Promise.resolve(tokens[fetched++] ?? 'none left')
    const carol = new SdkClient(node.wsUrl, { getToken })
    carol.sdk.connect()
    const subscription = await carol.subscribe('kept')
    await eventually(() => Promise.resolve(fetched === 3), 'the client fetched three tokens')
    await callApi(node, 'publish', { channel: 'kept', data: 1 })
    expect(await subscription.data(1)).toEqual([1])
    expect(carol.connected.items).toHaveLength(1)
    carol.close()
  })

  it('resubscribes to 500 channels with one frame of large tokens', async () => {
    const generous = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a',
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_MAX_CHANNELS_PER_CONNECTION: '500',
      FANFARE_API_KEY: API_KEY,
    })
    const alice = new SdkClient(generous.wsUrl, { token: 'secret-a' })
    const subscriptions = Array.from({ length: 500 }, (_, index) => {
      const channel = `$channel-${index}`
      return alice.add(channel, { token: sign({ sub: 'alice', channel, info: 'x'.repeat(5_000) }) })
    })
    alice.sdk.connect()
    await Promise.all(subscriptions.map(({ subscribed }) => subscribed.first(1)))
    await callApi(generous, 'publish', { channel: '$channel-499', data: 'here' })
    expect(await subscriptions[499]?.data(1)).toEqual(['here'])
    alice.close()
    await generous.child.stop()
  })

  it('is subscribed up to the channel limit, and receives an error for each further channel', async () => {
    const alice = new SdkClient(node.wsUrl, { token: 'secret-a' })
    const subscriptions = Array.from({ length: 500 }, (_, index) => alice.add(`channel-${index}`))
    alice.sdk.connect()
    const [first, others] = [subscriptions.slice(0, 128), subscriptions.slice(128)]
    await Promise.all(first.map(({ subscribed }) => subscribed.first(1)))
    const refusals = await Promise.all(others.map(({ unsubscribed }) => unsubscribed.first(1)))
    expect(new Set(refusals.map(([refusal]) => refusal?.code))).toEqual(new Set([106]))
    expect(alice.connected.items).toHaveLength(1)
    expect(alice.disconnected.items).toEqual([])
    alice.close()
  })

  it('fetches a new token for a subscription whose token sets an expired expiry', async () => {
    const claims = { sub: 'alice', channel: '$later' }
    const expired = sign({ ...claims, exp: inOneHour(), expire_at: Math.floor(Date.now() / 1_000) - 26 })
    const alice = await connect('secret-a')
    let fetched = 0
    const getToken = async () => {
      fetched++
      return sign(claims)
    }
    const subscription = await alice.subscribe('$later', { token: expired, getToken })
    expect(fetched).toBe(1)
    expect(subscription.subscribed.items).toHaveLength(1)
    const final = alice.add('$later-2', { token: sign({ ...claims, channel: '$later-2', expire_at: 1 }) })
    expect((await final.unsubscribed.first(1))[0]).toMatchObject({ code: 1, reason: 'unauthorized' })
    alice.close()
  })

  it('is removed from the gauges when it is closed', async () => {
    const alice = await connect('secret-a')
    await alice.subscribe('room')
    alice.close()
    const open = async () => metric(await node.metrics(), 'fanfare_connections', '{protocol="centrifuge"}')
    await eventually(async () => (await open()) === 0, 'no connection is open')
    const metrics = await node.metrics()
    expect(metrics).toMatch(/fanfare_command_duration_seconds_count\{command="subscribe"\} [1-9]/)
    expect(node.child.output).not.toMatch(/"level":"error"/)
  })
})
