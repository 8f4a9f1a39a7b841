import { createSigner } from 'fast-jwt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { Cluster } from '../support/cluster.js'
import { eventually } from '../support/metric.js'
import type { SdkClient } from '../support/sdk-client.js'

const SECRET = 'a secret that signs tokens, long enough'
const sign = createSigner({ key: SECRET, algorithm: 'HS256' })
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
  const onEveryNode = (user: string) => Promise.all(NODES.map((node) => connect(node, as(user))))
  const call = (method: string, body: unknown) => callApi(cluster.nodes[0], method, body)
  /** A channel that no other test uses. */
  const fresh = () => `channel-${channels++}`

  it('hear in one order, with its offsets, what is said on any node', async () => {
    const clients = await onEveryNode('alice')
    const name = fresh()
    const heard = await Promise.all(clients.map((client) => client.subscribe(name)))
    const said = Array.from({ length: 60 }, (_, index) => index)
    await Promise.all(said.map((index) => heard[index % 3]?.sdk.publish({ index })))
    const logs = await Promise.all(heard.map(({ publications }) => publications.first(60)))
    const places = logs.map((log) => log.map(({ offset, data }) => ({ offset, data: data as unknown })))
    expect(places[0]?.map(({ offset }) => offset)).toEqual(said.map((index) => index + 1))
    expect(places[1]).toEqual(places[0])
    expect(places[2]).toEqual(places[0])
  })

  it('are counted together, raw clients too, and hear who comes and goes anywhere', async () => {
    const name = fresh()
    const alice = await connect(0, as('alice', { info: { name: 'Alice' } }))
    const seen = await alice.subscribe(name, { joinLeave: true })
    const bob = await connect(1, as('bob'))
    await bob.subscribe(name)
    await (await connect(2, as('bob'))).subscribe(name)
    const raw = await cluster.open(2, `/ws/${name}`)
    await seen.joins.find(({ info }) => info.user === 'tester')
    const { clients } = await seen.sdk.presence()
    expect(
      Object.values(clients)
        .map(({ user }) => user)
        .sort(),
    ).toEqual(['alice', 'bob', 'bob', 'tester'])
    expect(Object.values(clients).find(({ user }) => user === 'alice')?.connInfo).toEqual({ name: 'Alice' })
    expect(await seen.sdk.presenceStats()).toMatchObject({ numClients: 4, numUsers: 3 })
    expect((await call('presence_stats', { channel: name })).body.result).toEqual({
      num_clients: 4,
      num_users: 3,
    })
    raw.close()
    bob.close()
    await seen.leaves.find(({ info }) => info.user === 'tester')
    await seen.leaves.find(({ info }) => info.client === bob.connected.items[0]?.client)
    expect(await seen.sdk.presenceStats()).toMatchObject({ numClients: 2, numUsers: 2 })
  })

  it('read one history, and none after it was removed, whose offsets go on', async () => {
    const name = fresh()
    const [one, two] = await Promise.all([connect(0, as('alice')), connect(1, as('bob'))])
    const [here, there] = [await one.subscribe(name), await two.subscribe(name)]
    for (const data of ['a', 'b', 'c']) await here.sdk.publish(data)
    const { publications, epoch, offset } = await there.sdk.history({ limit: 10 })
    expect(publications.map(({ data }) => data as unknown)).toEqual(['a', 'b', 'c'])
    expect(offset).toBe(3)
    const since = { epoch, offset: 1 }
    const later = await here.sdk.history({ limit: 1, since })
    expect(later.publications.map(({ data }) => data as unknown)).toEqual(['b'])
    expect((await call('history_remove', { channel: name })).body).toEqual({ result: {} })
    expect(await there.sdk.history({ limit: 10 })).toMatchObject({ publications: [], epoch, offset: 3 })
    await there.sdk.publish('d')
    expect((await here.publications.first(4))[3]).toMatchObject({ data: 'd', offset: 4 })
    await expect(here.sdk.history({ limit: 1, since: { epoch: 'other', offset: 0 } })).rejects.toMatchObject({
      code: 112,
    })
  })

  it('hear once what is published twice under one key, on whichever nodes', async () => {
    const name = fresh()
    const heard = await (await connect(2, as('alice'))).subscribe(name)
    const body = { channel: name, data: 'once', idempotency_key: 'the-key' }
    const answers = [await callApi(cluster.nodes[0], 'publish', body)]
    answers.push(await callApi(cluster.nodes[1], 'publish', body))
    expect(answers[1]?.body).toEqual(answers[0]?.body)
    await call('publish', { channel: name, data: 'after' })
    expect(await heard.data(2)).toEqual(['once', 'after'])
  })

  it('are subscribed and unsubscribed by the server on every node', async () => {
    const name = fresh()
    const clients = await onEveryNode('carol')
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

  it('lose a subscription of their own for good when the server ends it', async () => {
    const name = fresh()
    const clients = await onEveryNode('dora')
    const subscriptions = await Promise.all(clients.map((client) => client.subscribe(name)))
    await call('unsubscribe', { user: 'dora', channel: name })
    for (const { unsubscribed } of subscriptions) {
      expect((await unsubscribed.first(1))[0]?.code).toBe(2000)
    }
  })

  it('are disconnected on every node, and come back or not by the code', async () => {
    const clients = await onEveryNode('erin')
    const spared = clients[0]?.connected.items[0]?.client
    const back = { user: 'erin', code: 3011, whitelist: [spared] }
    expect((await call('disconnect', back)).body.result).toEqual({ num_clients: 2 })
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

  it('are told on every node that their connection has expired, and come back', async () => {
    const clients = await onEveryNode('frank')
    expect((await call('refresh', { user: 'frank', expired: true })).body.result).toEqual({ num_clients: 3 })
    for (const client of clients) {
      await client.connected.first(2)
      expect(client.connecting.items[1]?.code).toBe(3005)
    }
  })

  it('fetch a new token before theirs expires, and stay', async () => {
    let fetched = 0
    const getToken = () => {
      fetched++
      return Promise.resolve(as('grace', { exp: inSeconds(3_600) }))
    }
    const client = await connect(1, as('grace', { exp: inSeconds(1) }), { getToken })
    await eventually(() => Promise.resolve(fetched > 0), 'it fetched a token')
    await client.sdk.send('still here')
    expect(client.connected.items).toHaveLength(1)
  })

  it('need a token for a private channel, and renew it', async () => {
    const name = `$${fresh()}`
    const client = await connect(0, as('heidi'))
    const refused = client.add(name)
    expect((await refused.unsubscribed.first(1))[0]?.code).toBe(103)
    client.sdk.removeSubscription(refused.sdk)
    const forSomebodyElse = await connect(1, as('ivan'))
    const token = sign({ sub: 'heidi', channel: name })
    const stolen = forSomebodyElse.add(name, { token })
    expect((await stolen.unsubscribed.first(1))[0]?.code).toBe(103)
    let fetched = 0
    const getToken = () => {
      fetched++
      const exp = fetched === 1 ? inSeconds(2) : inSeconds(3_600)
      return Promise.resolve(sign({ sub: 'heidi', channel: name, info: { seat: 7 }, exp }))
    }
    const subscription = await client.subscribe(name, { getToken })
    const { clients } = await subscription.sdk.presence()
    expect(Object.values(clients)[0]?.chanInfo).toEqual({ seat: 7 })
    await eventually(() => Promise.resolve(fetched === 2), 'it fetched a second token')
    await callApi(cluster.nodes[2], 'publish', { channel: name, data: 'secret' })
    expect(await subscription.data(1)).toEqual(['secret'])
    expect(subscription.subscribed.items).toHaveLength(1)
  })

  it('enter a channel that names users only if it names theirs', async () => {
    const name = 'mine:news#judy,kate'
    const judy = await (await connect(0, as('judy'))).subscribe(name)
    const refused = (await connect(1, as('mallory'))).add(name)
    expect((await refused.unsubscribed.first(1))[0]?.code).toBe(103)
    await (await connect(2, as('kate'))).subscribe(name)
    await call('publish', { channel: name, data: 'for us' })
    expect(await judy.data(1)).toEqual(['for us'])
  })
})
