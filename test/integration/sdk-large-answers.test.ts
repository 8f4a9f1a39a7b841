import { createSigner } from 'fast-jwt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

const SECRET = 'a secret that signs tokens, long enough'
const NAMESPACE = {
  allow_subscribe_for_client: true,
  allow_history_for_subscriber: true,
  history_size: 100,
  history_ttl: '1m',
}

describe('what an SDK client gets at once', () => {
  let node: FanfareProcess
  /** Publishes so many publications of 10,000 bytes. */
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
    ['recovers up to half of what it may leave unread', 6, true],
    ['does not recover more, and goes on from there', 7, false],
  ])('%s', async (_, count, isRecovered) => {
    const channel = `missed-${count}`
    const alice = await connect()
    const heard = await alice.subscribe(channel, { recoverable: true, positioned: true })
    alice.close()
    await publish(channel, count)
    alice.sdk.connect()
    const [, again] = await heard.subscribed.first(2)
    expect(again).toMatchObject({ wasRecovering: true, recovered: isRecovered })
    await publish(channel, 1)
    const arrived = await heard.publications.first(isRecovered ? count + 1 : 1)
    expect(arrived.at(-1)?.offset).toBe(count + 1)
    expect(alice.connecting.items).toHaveLength(2)
    alice.close()
  })

  it('is shared by the channels that it is in by its token', async () => {
    const since = async (channel: string) => {
      const { body } = await callApi(node, 'history', { channel, limit: 0 })
      return { recover: true, epoch: body.result?.['epoch'], offset: 0 }
    }
    const subs = { first: await since('first'), second: await since('second') }
    for (const channel of Object.keys(subs)) await publish(channel, 4)
    const token = createSigner({ key: SECRET, algorithm: 'HS256' })({
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

  it('is the part of the history that takes up to half of that, one publication at least', async () => {
    const alice = await connect()
    const heard = await alice.subscribe('past')
    await publish('past', 8)
    const first = await heard.sdk.history({ limit: 100 })
    expect(first.publications.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6])
    const rest = await heard.sdk.history({ limit: 100, since: { epoch: first.epoch, offset: 6 } })
    expect(rest.publications.map(({ offset }) => offset)).toEqual([7, 8])
    await callApi(node, 'publish', { channel: 'past', data: 'x'.repeat(100_000) })
    const last = await heard.sdk.history({ limit: 100, reverse: true })
    expect(last.publications.map(({ offset }) => offset)).toEqual([9])
    const { body } = await callApi(node, 'history', { channel: 'past', limit: -1 })
    expect(body.result?.['publications']).toHaveLength(9)
    alice.close()
  })

  it('is the one publication of a cache, however large', async () => {
    const channel = 'cache:large'
    const alice = await connect()
    const heard = await alice.subscribe(channel)
    alice.close()
    await callApi(node, 'publish', { channel, data: 'x'.repeat(100_000) })
    alice.sdk.connect()
    expect((await heard.subscribed.first(2))[1]).toMatchObject({ recovered: true })
    expect((await heard.publications.first(1))[0]?.data).toHaveLength(100_000)
    alice.close()
  })
})
