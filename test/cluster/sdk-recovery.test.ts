import { createSigner } from 'fast-jwt'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ApiAnswer, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { Cluster, TOKEN } from '../support/cluster.js'
import { SdkClient, type SdkSubscription } from '../support/sdk-client.js'
import { SdkLine } from '../support/sdk-line.js'

const SECRET = 'a secret that signs tokens, long enough'
const sign = createSigner({ key: SECRET, algorithm: 'HS256' })
const KEPT = 20
const OPEN = {
  presence: true,
  join_leave: true,
  force_push_join_leave: true,
  force_recovery: true,
  history_size: KEPT,
  history_ttl: '1m',
  allow_subscribe_for_client: true,
}
const CHANNEL = 'feed'

/** A client whose connections lead to the node that the test says. */
interface Traveller {
  readonly client: SdkClient
  /** Ends its connection and leads the next one to this node; it comes back when it is let through. */
  moveTo(node: 0 | 1 | 2): void
  /** Until then its attempts to come back fail. */
  letThrough(): void
}

describe('SDK clients that come back', () => {
  let cluster: Cluster
  beforeEach(async () => {
    cluster = await Cluster.start({
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_DRAIN_WINDOW: '1s',
      // However much is said while a client is between two nodes.
      FANFARE_MAX_HISTORY_PUBLICATIONS: '100000',
      FANFARE_QUEUE_BYTES: '64MiB',
      FANFARE_NAMESPACES: JSON.stringify([
        { name: '', ...OPEN },
        { name: 'cache', ...OPEN, force_recovery_mode: 'cache' },
        { name: 'long', ...OPEN, history_size: 100_000 },
      ]),
    })
  })
  afterEach(async () => {
    await cleanUp()
    await cluster.stop()
  })

  const NOWHERE = 'ws://127.0.0.1:1'
  const travel = async (token: string = TOKEN): Promise<Traveller> => {
    let target = cluster.nodes[0].wsUrl
    let isLetThrough = true
    const line = new SdkLine(() => (isLetThrough ? target : NOWHERE))
    const client = await SdkClient.connect(target, { token, websocket: line.websocket })
    afterThisTest(() => client.close())
    return {
      client,
      moveTo: (node) => {
        target = cluster.nodes[node].wsUrl
        isLetThrough = false
        line.cut()
      },
      letThrough: () => {
        isLetThrough = true
      },
    }
  }
  const publish = (data: unknown, channel = CHANNEL): Promise<ApiAnswer> =>
    callApi(cluster.nodes[2], 'publish', { channel, data })
  const publishAll = async (count: number, from = 0) => {
    for (let index = from; index < from + count; index++) await publish(index)
  }
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)
  const back = async ({ subscribed }: SdkSubscription) => (await subscribed.first(2))[1]

  for (const [where, node] of [
    ['the same node', 0],
    ['another node', 1],
  ] as const) {
    it(`get exactly what they missed on ${where}`, async () => {
      const traveller = await travel()
      const heard = await traveller.client.subscribe(CHANNEL)
      await publishAll(3)
      await heard.data(3)
      traveller.moveTo(node)
      await publishAll(5, 3)
      traveller.letThrough()
      expect(await back(heard)).toMatchObject({ wasRecovering: true, recovered: true })
      await publishAll(2, 8)
      expect(await heard.data(10)).toEqual(numbers(10))
      expect(heard.publications.items.map(({ offset }) => offset)).toEqual(numbers(10).map((n) => n + 1))
    })
  }

  it('are told that they missed something after history was removed, or holds no longer what they missed', async () => {
    const traveller = await travel()
    const heard = await traveller.client.subscribe(CHANNEL)
    traveller.moveTo(1)
    await publishAll(2)
    await callApi(cluster.nodes[0], 'history_remove', { channel: CHANNEL })
    traveller.letThrough()
    expect(await back(heard)).toMatchObject({ wasRecovering: true, recovered: false })
    traveller.moveTo(2)
    await publishAll(KEPT + 1, 2)
    traveller.letThrough()
    const again = (await heard.subscribed.first(3))[2]
    expect(again).toMatchObject({
      wasRecovering: true,
      recovered: false,
      streamPosition: { offset: KEPT + 3 },
    })
    await publish('after')
    expect(await heard.data(1)).toEqual(['after'])
  })

  it('recover nothing of a stream that was lost, and go on with the new one', async () => {
    const traveller = await travel()
    const heard = await traveller.client.subscribe(CHANNEL)
    await publishAll(3)
    await heard.data(3)
    traveller.moveTo(1)
    const [begin] = heard.subscribed.items
    await cluster.redis.stop()
    await cluster.redis.startAgain()
    while ((await publish('early')).body.error !== undefined);
    traveller.letThrough()
    const again = await back(heard)
    expect(again).toMatchObject({ wasRecovering: true, recovered: false })
    expect(again?.streamPosition?.epoch).not.toBe(begin?.streamPosition?.epoch)
    await publish('after')
    expect((await heard.data(4))[3]).toBe('after')
  })

  it('get the latest publication only, where the channel is a cache', async () => {
    const traveller = await travel()
    const heard = await traveller.client.subscribe('cache:price')
    traveller.moveTo(1)
    for (const data of [1, 2, 3]) await publish(data, 'cache:price')
    traveller.letThrough()
    expect(await back(heard)).toMatchObject({ wasRecovering: true, recovered: true })
    expect(await heard.data(1)).toEqual([3])
    expect(heard.publications.items[0]?.offset).toBe(3)
  })

  it('get what they missed in the channels that the server has put them into', async () => {
    const traveller = await travel(sign({ sub: 'alice', channels: ['personal'] }))
    await publish('before', 'personal')
    await traveller.client.publications.first(1)
    traveller.moveTo(1)
    for (const data of ['one', 'two']) await publish(data, 'personal')
    traveller.letThrough()
    await publish('three', 'personal')
    const all = await traveller.client.publications.first(4)
    expect(all.map(({ data }) => data as unknown)).toEqual(['before', 'one', 'two', 'three'])
  })

  it('lose nothing when their node is killed, whose clients leave', async () => {
    const watcher = await cluster.sdk(1)
    afterThisTest(() => watcher.close())
    const watched = await watcher.subscribe(CHANNEL)
    const traveller = await travel()
    const heard = await traveller.client.subscribe(CHANNEL)
    const before = traveller.client.connected.items[0]?.client
    await publishAll(3)
    await heard.data(3)
    await cluster.nodes[0].child.stop('SIGKILL')
    await publishAll(3, 3)
    traveller.moveTo(1)
    traveller.letThrough()
    expect(await back(heard)).toMatchObject({ wasRecovering: true, recovered: true })
    expect(await heard.data(6)).toEqual(numbers(6))
    await watched.leaves.find(({ info }) => info.client === before)
    expect(await watched.data(6)).toEqual(numbers(6))
  })

  it('are sent elsewhere by a node that stops, and lose nothing', async () => {
    const channel = 'long:feed'
    const addresses = [cluster.nodes[0].wsUrl, cluster.nodes[1].wsUrl]
    const crowd = await Promise.all(
      numbers(30).map(async () => {
        let connections = 0
        // First the node that stops, then the other one.
        const line = new SdkLine(() => addresses[Math.min(connections++, 1)] ?? '')
        const client = await SdkClient.connect('ws://any', { token: TOKEN, websocket: line.websocket })
        afterThisTest(() => client.close())
        return { client, heard: await client.subscribe(channel) }
      }),
    )
    const stopped = cluster.nodes[0].child.stop('SIGTERM')
    let said = 0
    let isStopped = false
    void stopped.finally(() => {
      isStopped = true
    })
    while (!isStopped) await publish(said++, channel)
    await publish(said++, channel)
    expect(await stopped).toEqual({ code: 0, signal: null })
    for (const { client, heard } of crowd) {
      expect(await heard.data(said)).toEqual(numbers(said))
      expect(client.connecting.items[1]).toMatchObject({ code: 3001, reason: 'shutdown' })
      expect(client.connected.items).toHaveLength(2)
      expect(await back(heard)).toMatchObject({ wasRecovering: true, recovered: true })
    }
  })
})
