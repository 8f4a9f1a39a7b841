import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

const NAMESPACE = {
  allow_subscribe_for_client: true,
  allow_history_for_subscriber: true,
  history_size: 100,
  history_ttl: '1m',
}

describe('the data that an SDK client receives at once', () => {
  let node: FanfareProcess
  /** Publishes `count` publications of 10,000 bytes. */
  const publish = async (channel: string, count: number) => {
    for (let index = 0; index < count; index++) {
      await callApi(node, 'publish', { channel, data: `${index}`.padEnd(10_000 - 2) })
    }
  }
  const connect = () => SdkClient.connect(node.wsUrl, { token: 'secret-a' })

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a',
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_API_KEY: API_KEY,
      FANFARE_QUEUE_BYTES: '128KiB',
      FANFARE_NAMESPACES: JSON.stringify([
        { name: '', ...NAMESPACE },
        { name: 'cache', ...NAMESPACE, force_recovery: true, force_recovery_mode: 'cache' },
      ]),
    })
  })
  afterAll(() => node.child.stop())

  it.each([
    ['is recovered up to half of the queue limit', 6, true],
    ['is not recovered beyond it, and the subscription continues', 7, false],
  ])('%s', async (_, count, isRecovered) => {
    const channel = `missed-${count}`
    const alice = await connect()
    const subscription = await alice.subscribe(channel, { recoverable: true, positioned: true })
    alice.close()
    await publish(channel, count)
    alice.sdk.connect()
    const [, again] = await subscription.subscribed.first(2)
    expect(again).toMatchObject({ wasRecovering: true, recovered: isRecovered })
    await publish(channel, 1)
    const arrived = await subscription.publications.first(isRecovered ? count + 1 : 1)
    expect(arrived.at(-1)?.offset).toBe(count + 1)
    expect(alice.connecting.items).toHaveLength(2)
    alice.close()
  })

  it('is limited for all channels of its token together', async () => {
    const since = async (channel: string) => {
      const { body } = await callApi(node, 'history', { channel, limit: 0 })
      return { recover: true, epoch: body.result?.['epoch'], offset: 0 }
    }
    const subs = { first: await since('first'), second: await since('second') }
    for (const channel of Object.keys(subs)) await publish(channel, 4)
    const token = sign({
      sub: 'carol',
      channels: Object.keys(subs),
    })
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    client.send(JSON.stringify({ id: 1, connect: { token, subs } }))
    const reply = JSON.parse(await client.nextText()) as { connect: { subs: Record<string, object> } }
    expect(reply.connect.subs['first']).toMatchObject({ recovered: true })
    expect(reply.connect.subs['second']).toMatchObject({ was_recovering: true, offset: 4 })
    expect(reply.connect.subs['second']).not.toHaveProperty('publications')
    client.close()
  })

  it('is the part of the history up to half of the queue limit, and at least one publication', async () => {
    const alice = await connect()
    const subscription = await alice.subscribe('past')
    await publish('past', 8)
    const first = await subscription.sdk.history({ limit: 100 })
    expect(first.publications.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6])
    const rest = await subscription.sdk.history({ limit: 100, since: { epoch: first.epoch, offset: 6 } })
    expect(rest.publications.map(({ offset }) => offset)).toEqual([7, 8])
    await callApi(node, 'publish', { channel: 'past', data: 'x'.repeat(100_000) })
    const last = await subscription.sdk.history({ limit: 100, reverse: true })
    expect(last.publications.map(({ offset }) => offset)).toEqual([9])
    const { body } = await callApi(node, 'history', { channel: 'past', limit: -1 })
    expect(body.result?.['publications']).toHaveLength(9)
    alice.close()
  })

  it('is the latest publication in cache mode, up to the queue limit', async () => {
    const channel = 'cache:large'
    const alice = await connect()
    const subscription = await alice.subscribe(channel)
    alice.close()
    await callApi(node, 'publish', { channel, data: 'x'.repeat(100_000) })
    alice.sdk.connect()
    expect((await subscription.subscribed.first(2))[1]).toMatchObject({ recovered: true })
    expect((await subscription.publications.first(1))[0]?.data).toHaveLength(100_000)
    alice.close()
  })

  it('is not a latest publication above the queue limit in cache mode: the client is told, and stays connected', async () => {
    const channel = 'cache:too-large'
    const alice = await connect()
    const subscription = await alice.subscribe(channel)
    alice.close()
    await callApi(node, 'publish', { channel, data: 'x'.repeat(150_000) })
    alice.sdk.connect()
    expect((await subscription.subscribed.first(2))[1]).toMatchObject({ recovered: false })
    await callApi(node, 'publish', { channel, data: 'small' })
    expect((await subscription.publications.first(1))[0]?.data).toBe('small')
    expect(subscription.subscribed.items).toHaveLength(2)
    alice.close()
  })
})
