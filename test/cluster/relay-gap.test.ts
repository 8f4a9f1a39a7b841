import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { TOKEN } from '../support/cluster.js'
import { metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const CHANNEL = 'feed'
const SMALL = 'small:feed'
const SMALL_SIZE = 5
const OPEN = { history_ttl: '1m', force_recovery: true, allow_subscribe_for_client: true }

describe('a node that has missed publications of the relay', () => {
  let redis: RedisServer
  let admin: Redis
  let publishingNode: FanfareProcess
  let receivingNode: FanfareProcess
  /** The ids of the connections of the receiving node to Redis. */
  let connectionIds: string[]
  let subscriptionId: string

  const idsOf = async (type: 'normal' | 'pubsub') => {
    const list = (await admin.call('CLIENT', 'LIST', 'TYPE', type)) as string
    return [...list.matchAll(/^id=(\d+)/gm)].map(([, id]) => id ?? '')
  }
  beforeEach(async () => {
    redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    admin = new Redis(redis.url)
    afterThisTest(() => admin.disconnect())
    const start = async () => {
      const node = await FanfareProcess.start({
        FANFARE_REDIS_URL: redis.url,
        FANFARE_AUTH_TOKENS: `tester=${TOKEN}`,
        FANFARE_AUTH_HMAC_SECRET: SECRET,
        FANFARE_API_KEY: API_KEY,
        FANFARE_NAMESPACES: JSON.stringify([
          { name: '', ...OPEN, history_size: 10_000 },
          { name: 'small', ...OPEN, history_size: SMALL_SIZE },
        ]),
      })
      afterThisTest(() => node.child.stop('SIGKILL'))
      return node
    }
    publishingNode = await start()
    const before = [...(await idsOf('normal')), ...(await idsOf('pubsub'))]
    receivingNode = await start()
    const isNew = (id: string) => !before.includes(id)
    subscriptionId = (await idsOf('pubsub')).find(isNew) ?? ''
    connectionIds = [subscriptionId, ...(await idsOf('normal')).filter(isNew)]
  })
  afterEach(cleanUp)

  const subscribe = async (node: FanfareProcess, channel: string) => {
    const client = await SdkClient.connect(node.wsUrl, { token: TOKEN })
    afterThisTest(() => client.close())
    return client.subscribe(channel)
  }
  const publish = (data: unknown, channel = CHANNEL) => callApi(publishingNode, 'publish', { channel, data })
  const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, index) => index + from)
  const receiverMetric = async (name: string) => metric(await receivingNode.metrics(), `fanfare_${name}`)
  /**
   * Adds the latest publication `count` times to the stream without publishing it, as if every relay message with them
   * were lost. Ends the connections with the ids of `ended` in the same transaction.
   */
  const addUnrelayed = async (count: number, channel = CHANNEL, ended: readonly string[] = []) => {
    const [stream, meta] = [`fanfare:stream:{:${channel}}`, `fanfare:stream-meta:{:${channel}}`]
    const [latest] = await admin.xrevrangeBuffer(stream, '+', '-', 'COUNT', 1)
    const entry = latest?.[1][1]
    if (entry === undefined) throw new Error('the stream is empty')
    const offset = Number.parseInt(String(latest?.[0]), 10)
    const transaction = admin.multi()
    for (const id of ended) transaction.call('CLIENT', 'KILL', 'ID', id)
    for (const next of numbers(count, offset + 1)) transaction.xadd(stream, `${next}-0`, 'e', entry)
    transaction.hset(meta, 'offset', offset + count)
    if (channel === SMALL) transaction.xtrim(stream, 'MAXLEN', SMALL_SIZE)
    const answers = (await transaction.exec()) ?? []
    for (const [error] of answers) if (error !== null) throw error
  }

  it('delivers every publication to every client, in order, while subscriptions are killed', async () => {
    const subscriptions = [await subscribe(publishingNode, CHANNEL), await subscribe(receivingNode, CHANNEL)]
    const raw = await RawClient.connect(`${receivingNode.wsUrl}/ws/${CHANNEL}`, { token: TOKEN })
    let published = 0
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 40; index++) {
        if (index === 20) await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
        expect((await publish(++published)).body.error).toBeUndefined()
      }
    }
    for (const { publications, subscribed, subscribing, unsubscribed } of subscriptions) {
      const all = await publications.first(published)
      expect(all.map(({ data }) => data as unknown)).toEqual(numbers(published))
      expect(all.map(({ offset }) => offset)).toEqual(numbers(published))
      expect([subscribed, subscribing, unsubscribed].map(({ items }) => items.length)).toEqual([1, 1, 0])
    }
    expect(await raw.nextTexts(published)).toEqual(numbers(published).map(String))
    expect(await receiverMetric('relay_unrepaired_gaps_total')).toBe(0)
  })

  it.each([
    ['its subscriptions', 1],
    ['both its connections', 2],
  ])('delivers what it missed when Redis ended %s, though no publication follows', async (_what, ended) => {
    expect(connectionIds).toHaveLength(2)
    const subscription = await subscribe(receivingNode, CHANNEL)
    await publish(1)
    await subscription.publications.first(1)
    await addUnrelayed(3, CHANNEL, connectionIds.slice(0, ended))
    const all = await subscription.publications.first(4)
    expect(all.map(({ offset }) => offset)).toEqual([1, 2, 3, 4])
    expect(subscription.subscribing.items).toHaveLength(1)
    expect(await receiverMetric('relay_repaired_publications_total')).toBe(3)
    await publish(5)
    expect(await subscription.data(5)).toEqual([1, 1, 1, 1, 5])
  })

  it('delivers a lost publication that nothing follows', async () => {
    const subscription = await subscribe(receivingNode, CHANNEL)
    await publish('first')
    await subscription.publications.first(1)
    await addUnrelayed(1)
    const all = await subscription.publications.first(2)
    expect(all.map(({ offset }) => offset)).toEqual([1, 2])
    expect(subscription.subscribing.items).toHaveLength(1)
  })

  it('delivers lost publications before the next one', async () => {
    const subscription = await subscribe(receivingNode, CHANNEL)
    await publish('first')
    await subscription.publications.first(1)
    await addUnrelayed(3)
    await publish('next')
    const all = await subscription.publications.first(5)
    expect(all.map(({ offset, data }) => [offset, data as unknown])).toEqual([
      [1, 'first'],
      [2, 'first'],
      [3, 'first'],
      [4, 'first'],
      [5, 'next'],
    ])
    expect(subscription.subscribing.items).toHaveLength(1)
    expect(await receiverMetric('relay_gaps_total')).toBe(1)
  })

  it('lets clients subscribe again when the stream has lost the publications too', async () => {
    const subscription = await subscribe(receivingNode, SMALL)
    await publish(1, SMALL)
    await subscription.publications.first(1)
    await addUnrelayed(SMALL_SIZE + 1, SMALL)
    const again = (await subscription.subscribed.first(2))[1]
    expect(subscription.subscribing.items[1]?.code).toBe(2500)
    expect(again).toMatchObject({ wasRecovering: true, recovered: false })
    expect(again?.streamPosition?.offset).toBe(SMALL_SIZE + 2)
    expect(await receiverMetric('relay_unrepaired_gaps_total')).toBe(1)
    await publish('after', SMALL)
    expect((await subscription.data(2))[1]).toBe('after')
  })

  it('lets clients reconnect when the stream of a server-side subscription has lost them', async () => {
    const token = sign({ sub: 'alice', channels: [SMALL] })
    const client = await SdkClient.connect(receivingNode.wsUrl, { token })
    afterThisTest(() => client.close())
    await publish(1, SMALL)
    await client.publications.first(1)
    await addUnrelayed(SMALL_SIZE + 1, SMALL)
    await client.connected.first(2)
    expect(client.connecting.items[1]?.code).toBe(3010)
    await publish('after', SMALL)
    expect((await client.publications.first(2))[1]?.data).toBe('after')
  })
})
