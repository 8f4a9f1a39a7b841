import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { Cluster } from '../support/cluster.js'
import { eventually } from '../support/metric.js'
import type { SdkClient } from '../support/sdk-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds

const OPEN = {
  presence: true,
  join_leave: true,
  history_size: 100,
  history_ttl: '1m',
  allow_subscribe_for_client: true,
  allow_publish_for_subscriber: true,
  allow_history_for_subscriber: true,
  allow_presence_for_subscriber: true,
}
const NODES = [0, 1, 2] as const

describe('SDK clients of different nodes', () => {
  let cluster: Cluster
  let channels = 0
  beforeAll(async () => {
    cluster = await Cluster.start({
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_NAMESPACES: JSON.stringify([
        { name: '', ...OPEN },
        { name: 'mine', allow_user_limited_channels: true },
      ]),
    })
  })
  afterAll(() => cluster.stop())
  afterEach(cleanUp)

  const connect = async (node: 0 | 1 | 2, token: string, options = {}): Promise<SdkClient> => {
    const client = await cluster.sdk(node, { token, ...options })
    afterThisTest(() => client.close())
    return client
  }
  const as = (user: string, claims = {}) => sign({ sub: user, ...claims })
  const connectToEveryNode = (user: string) => Promise.all(NODES.map((node) => connect(node, as(user))))
  const call = (method: string, body: unknown) => callApi(cluster.nodes[0], method, body)
  /** A channel that no other test uses. */
  const newChannel = () => `channel-${channels++}`

  it('receive the publications of all nodes in one order, with their offsets', async () => {
    const clients = await connectToEveryNode('alice')
    const name = newChannel()
    const subscriptions = await Promise.all(clients.map((client) => client.subscribe(name)))
    const indexes = Array.from({ length: 60 }, (_, index) => index)
    await Promise.all(indexes.map((index) => subscriptions[index % 3]?.sdk.publish({ index })))
    const logs = await Promise.all(subscriptions.map(({ publications }) => publications.first(60)))
    const events = logs.map((log) => log.map(({ offset, data }) => ({ offset, data: data as unknown })))
    expect(events[0]?.map(({ offset }) => offset)).toEqual(indexes.map((index) => index + 1))
    expect(events[1]).toEqual(events[0])
    expect(events[2]).toEqual(events[0])
  })

  it('are counted together with raw clients, and receive the joins and leaves of every node', async () => {
    const name = newChannel()
    const alice = await connect(0, as('alice', { info: { name: 'Alice' } }))
    const aliceSubscription = await alice.subscribe(name, { joinLeave: true })
    const bob = await connect(1, as('bob'))
    await bob.subscribe(name)
    await (await connect(2, as('bob'))).subscribe(name)
    const raw = await cluster.open(2, `/ws/${name}`)
    await aliceSubscription.joins.find(({ info }) => info.user === 'tester')
    const { clients } = await aliceSubscription.sdk.presence()
    expect(
      Object.values(clients)
        .map(({ user }) => user)
        .sort(),
    ).toEqual(['alice', 'bob', 'bob', 'tester'])
    expect(Object.values(clients).find(({ user }) => user === 'alice')?.connInfo).toEqual({ name: 'Alice' })
    expect(await aliceSubscription.sdk.presenceStats()).toMatchObject({ numClients: 4, numUsers: 3 })
    expect((await call('presence_stats', { channel: name })).body.result).toEqual({
      num_clients: 4,
      num_users: 3,
    })
    raw.close()
    bob.close()
    await aliceSubscription.leaves.find(({ info }) => info.user === 'tester')
    await aliceSubscription.leaves.find(({ info }) => info.client === bob.connected.items[0]?.client)
    expect(await aliceSubscription.sdk.presenceStats()).toMatchObject({ numClients: 2, numUsers: 2 })
  })

  it('read one history, which is empty after its removal and continues with the next offset', async () => {
    const name = newChannel()
    const [one, two] = await Promise.all([connect(0, as('alice')), connect(1, as('bob'))])
    const [first, second] = [await one.subscribe(name), await two.subscribe(name)]
    for (const data of ['a', 'b', 'c']) await first.sdk.publish(data)
    const { publications, epoch, offset } = await second.sdk.history({ limit: 10 })
    expect(publications.map(({ data }) => data as unknown)).toEqual(['a', 'b', 'c'])
    expect(offset).toBe(3)
    const since = { epoch, offset: 1 }
    const later = await first.sdk.history({ limit: 1, since })
    expect(later.publications.map(({ data }) => data as unknown)).toEqual(['b'])
    expect((await call('history_remove', { channel: name })).body).toEqual({ result: {} })
    expect(await second.sdk.history({ limit: 10 })).toMatchObject({ publications: [], epoch, offset: 3 })
    await second.sdk.publish('d')
    expect((await first.publications.first(4))[3]).toMatchObject({ data: 'd', offset: 4 })
    await expect(first.sdk.history({ limit: 1, since: { epoch: 'other', offset: 0 } })).rejects.toMatchObject(
      {
        code: 112,
      },
    )
  })

  it('receive a publication once that is published with one idempotency key on two nodes', async () => {
    const name = newChannel()
    const subscription = await (await connect(2, as('alice'))).subscribe(name)
    const body = { channel: name, data: 'once', idempotency_key: 'the-key' }
    const answers = [await callApi(cluster.nodes[0], 'publish', body)]
    answers.push(await callApi(cluster.nodes[1], 'publish', body))
    expect(answers[1]?.body).toEqual(answers[0]?.body)
    await call('publish', { channel: name, data: 'after' })
    expect(await subscription.data(2)).toEqual(['once', 'after'])
  })

  it('are subscribed and unsubscribed by the server on every node', async () => {
    const name = newChannel()
    const clients = await connectToEveryNode('carol')
    expect((await call('subscribe', { user: 'carol', channel: name })).body.result).toEqual({
      num_clients: 3,
    })
    await call('publish', { channel: name, data: 'hello' })
    for (const client of clients) {
      expect((await client.publications.first(1))[0]).toMatchObject({ channel: name, data: 'hello' })
    }
    expect((await call('unsubscribe', { user: 'carol', channel: name })).body.result).toEqual({
      num_clients: 3,
    })
    expect((await call('presence_stats', { channel: name })).body.result).toMatchObject({ num_clients: 0 })
  })

  it('do not subscribe again after the server ends a client-side subscription', async () => {
    const name = newChannel()
    const clients = await connectToEveryNode('dora')
    const subscriptions = await Promise.all(clients.map((client) => client.subscribe(name)))
    await call('unsubscribe', { user: 'dora', channel: name })
    for (const { unsubscribed } of subscriptions) {
      expect((await unsubscribed.first(1))[0]?.code).toBe(2000)
    }
  })

  it('are disconnected on every node, and reconnect or not depending on the code', async () => {
    const clients = await connectToEveryNode('erin')
    const spared = clients[0]?.connected.items[0]?.client
    const reconnecting = { user: 'erin', code: 3011, whitelist: [spared] }
    expect((await call('disconnect', reconnecting)).body.result).toEqual({ num_clients: 2 })
    for (const client of clients.slice(1)) {
      await client.connected.first(2)
      expect(client.connecting.items[1]?.code).toBe(3011)
    }
    expect(clients[0]?.connected.items).toHaveLength(1)
    await call('disconnect', { user: 'erin', code: 4500, reason: 'go away' })
    for (const client of clients) {
      expect((await client.disconnected.first(1))[0]).toMatchObject({ code: 4500, reason: 'go away' })
    }
  })

  it('reconnect on every node after their connection has expired', async () => {
    const clients = await connectToEveryNode('frank')
    expect((await call('refresh', { user: 'frank', expired: true })).body.result).toEqual({ num_clients: 3 })
    for (const client of clients) {
      await client.connected.first(2)
      expect(client.connecting.items[1]?.code).toBe(3005)
    }
  })

  it('fetch a new token before theirs expires, and stay connected', async () => {
    let fetched = 0
    const getToken = () => {
      fetched++
      return Promise.resolve(as('grace', { exp: inSeconds(3_600) }))
    }
    const client = await connect(1, as('grace', { exp: inSeconds(1) }), { getToken })
    await eventually(() => Promise.resolve(fetched > 0), 'the client fetched a token')
    await client.sdk.send('still here')
    expect(client.connected.items).toHaveLength(1)
  })

  it('need a token for a private channel, and refresh it', async () => {
    const name = `$${newChannel()}`
    const client = await connect(0, as('heidi'))
    const refused = client.add(name)
    expect((await refused.unsubscribed.first(1))[0]?.code).toBe(103)
    client.sdk.removeSubscription(refused.sdk)
    const ivan = await connect(1, as('ivan'))
    const token = sign({ sub: 'heidi', channel: name })
    const refusedForIvan = ivan.add(name, { token })
    expect((await refusedForIvan.unsubscribed.first(1))[0]?.code).toBe(103)
    let fetched = 0
    const getToken = () => {
      fetched++
      const exp = fetched === 1 ? inSeconds(2) : inSeconds(3_600)
      return Promise.resolve(sign({ sub: 'heidi', channel: name, info: { seat: 7 }, exp }))
    }
    const subscription = await client.subscribe(name, { getToken })
    const { clients } = await subscription.sdk.presence()
    expect(Object.values(clients)[0]?.chanInfo).toEqual({ seat: 7 })
    await eventually(() => Promise.resolve(fetched === 2), 'the client fetched a second token')
    await callApi(cluster.nodes[2], 'publish', { channel: name, data: 'secret' })
    expect(await subscription.data(1)).toEqual(['secret'])
    expect(subscription.subscribed.items).toHaveLength(1)
  })

  it('may subscribe to a user-limited channel only if it names their user', async () => {
    const name = 'mine:news#judy,kate'
    const judy = await (await connect(0, as('judy'))).subscribe(name)
    const refused = (await connect(1, as('mallory'))).add(name)
    expect((await refused.unsubscribed.first(1))[0]?.code).toBe(103)
    await (await connect(2, as('kate'))).subscribe(name)
    await call('publish', { channel: name, data: 'for us' })
    expect(await judy.data(1)).toEqual(['for us'])
  })
})
