import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ApiAnswer, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { Cluster, TOKEN } from '../support/cluster.js'
import { SdkClient, type SdkSubscription } from '../support/sdk-client.js'
import { SdkLink } from '../support/sdk-link.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const HISTORY_SIZE = 20
const OPEN = {
  presence: true,
  join_leave: true,
  force_push_join_leave: true,
  force_recovery: true,
  history_size: HISTORY_SIZE,
  history_ttl: '1m',
  allow_subscribe_for_client: true,
}
const CHANNEL = 'feed'

/** A client whose connections lead to the node that the test chooses. */
interface MovableClient {
  readonly client: SdkClient
  /** Ends its connection and leads the next one to this node, which fails until `letThrough`. */
  moveTo(node: 0 | 1 | 2): void
  /** Lets its attempts to reconnect succeed. */
  letThrough(): void
}

describe('SDK clients that reconnect', () => {
  let cluster: Cluster
  beforeEach(async () => {
    cluster = await Cluster.start({
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_DRAIN_WINDOW: '1s',
      // More than the publications that a client misses between two nodes.
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
  const connectMovable = async (token: string = TOKEN): Promise<MovableClient> => {
    let target = cluster.nodes[0].wsUrl
    let isLetThrough = true
    const link = new SdkLink(() => (isLetThrough ? target : NOWHERE))
    const client = await SdkClient.connect(target, { token, websocket: link.websocket })
    afterThisTest(() => client.close())
    return {
      client,
      moveTo: (node) => {
        target = cluster.nodes[node].wsUrl
        isLetThrough = false
        link.cut()
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
  const resubscribed = async ({ subscribed }: SdkSubscription) => (await subscribed.first(2))[1]

  for (const [where, node] of [
    ['the same node', 0],
    ['another node', 1],
  ] as const) {
    it(`recover exactly what they missed on ${where}`, async () => {
      const movable = await connectMovable()
      const subscription = await movable.client.subscribe(CHANNEL)
      await publishAll(3)
      await subscription.data(3)
      movable.moveTo(node)
      await publishAll(5, 3)
      movable.letThrough()
      expect(await resubscribed(subscription)).toMatchObject({ wasRecovering: true, recovered: true })
      await publishAll(2, 8)
      expect(await subscription.data(10)).toEqual(numbers(10))
      expect(subscription.publications.items.map(({ offset }) => offset)).toEqual(
        numbers(10).map((n) => n + 1),
      )
    })
  }

  it('are not recovered after history was removed, or no longer contains what they missed', async () => {
    const movable = await connectMovable()
    const subscription = await movable.client.subscribe(CHANNEL)
    movable.moveTo(1)
    await publishAll(2)
    await callApi(cluster.nodes[0], 'history_remove', { channel: CHANNEL })
    movable.letThrough()
    expect(await resubscribed(subscription)).toMatchObject({ wasRecovering: true, recovered: false })
    movable.moveTo(2)
    await publishAll(HISTORY_SIZE + 1, 2)
    movable.letThrough()
    const again = (await subscription.subscribed.first(3))[2]
    expect(again).toMatchObject({
      wasRecovering: true,
      recovered: false,
      streamPosition: { offset: HISTORY_SIZE + 3 },
    })
    await publish('after')
    expect(await subscription.data(1)).toEqual(['after'])
  })

  it('recover nothing of a lost stream, and continue with the new one', async () => {
    const movable = await connectMovable()
    const subscription = await movable.client.subscribe(CHANNEL)
    await publishAll(3)
    await subscription.data(3)
    movable.moveTo(1)
    const [begin] = subscription.subscribed.items
    await cluster.redis.stop()
    await cluster.redis.startAgain()
    while ((await publish('early')).body.error !== undefined);
    movable.letThrough()
    const again = await resubscribed(subscription)
    expect(again).toMatchObject({ wasRecovering: true, recovered: false })
    expect(again?.streamPosition?.epoch).not.toBe(begin?.streamPosition?.epoch)
    await publish('after')
    expect((await subscription.data(4))[3]).toBe('after')
  })

  it('recover only the latest publication of a channel in cache mode', async () => {
    const movable = await connectMovable()
    const subscription = await movable.client.subscribe('cache:price')
    movable.moveTo(1)
    for (const data of [1, 2, 3]) await publish(data, 'cache:price')
    movable.letThrough()
    expect(await resubscribed(subscription)).toMatchObject({ wasRecovering: true, recovered: true })
    expect(await subscription.data(1)).toEqual([3])
    expect(subscription.publications.items[0]?.offset).toBe(3)
  })

  it('recover what they missed in their server-side subscriptions', async () => {
    const movable = await connectMovable(sign({ sub: 'alice', channels: ['personal'] }))
    await publish('before', 'personal')
    await movable.client.publications.first(1)
    movable.moveTo(1)
    for (const data of ['one', 'two']) await publish(data, 'personal')
    movable.letThrough()
    await publish('three', 'personal')
    const all = await movable.client.publications.first(4)
    expect(all.map(({ data }) => data as unknown)).toEqual(['before', 'one', 'two', 'three'])
  })

  it('lose nothing when their node is killed, and the leaves of its clients are published', async () => {
    const watcher = await cluster.sdk(1)
    afterThisTest(() => watcher.close())
    const watcherSubscription = await watcher.subscribe(CHANNEL)
    const movable = await connectMovable()
    const subscription = await movable.client.subscribe(CHANNEL)
    const before = movable.client.connected.items[0]?.client
    await publishAll(3)
    await subscription.data(3)
    await cluster.nodes[0].child.stop('SIGKILL')
    await publishAll(3, 3)
    movable.moveTo(1)
    movable.letThrough()
    expect(await resubscribed(subscription)).toMatchObject({ wasRecovering: true, recovered: true })
    expect(await subscription.data(6)).toEqual(numbers(6))
    await watcherSubscription.leaves.find(({ info }) => info.client === before)
    expect(await watcherSubscription.data(6)).toEqual(numbers(6))
  })

  it('reconnect elsewhere when their node stops, and lose nothing', async () => {
    const channel = 'long:feed'
    const addresses = [cluster.nodes[0].wsUrl, cluster.nodes[1].wsUrl]
    const clients = await Promise.all(
      numbers(30).map(async () => {
        let connections = 0
        // The first connection is to the node that stops, the others are to the other one.
        const link = new SdkLink(() => addresses[Math.min(connections++, 1)] ?? '')
        const client = await SdkClient.connect('ws://any', { token: TOKEN, websocket: link.websocket })
        afterThisTest(() => client.close())
        return { client, subscription: await client.subscribe(channel) }
      }),
    )
    const stopped = cluster.nodes[0].child.stop('SIGTERM')
    let published = 0
    let isStopped = false
    void stopped.finally(() => {
      isStopped = true
    })
    while (!isStopped) await publish(published++, channel)
    await publish(published++, channel)
    expect(await stopped).toEqual({ code: 0, signal: null })
    for (const { client, subscription } of clients) {
      expect(await subscription.data(published)).toEqual(numbers(published))
      expect(client.connecting.items[1]).toMatchObject({ code: 3001, reason: 'shutdown' })
      expect(client.connected.items).toHaveLength(2)
      expect(await resubscribed(subscription)).toMatchObject({ wasRecovering: true, recovered: true })
    }
  })
})
