import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { SdkClient } from '../support/sdk-client.js'
import { SECRET, sign } from '../support/signed-tokens.js'

describe('the position of an SDK client in a stream', () => {
  let node: FanfareProcess
  const publish = async (channel: string, ...numbers: number[]) => {
    for (const data of numbers) await callApi(node, 'publish', { channel, data })
  }

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a,bob=secret-b',
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_API_KEY: API_KEY,
      FANFARE_NAMESPACES: JSON.stringify([
        {
          name: '',
          allow_subscribe_for_client: true,
          presence: true,
          join_leave: true,
          force_push_join_leave: true,
          history_size: 100,
          history_ttl: '1m',
        },
      ]),
    })
  })
  afterAll(() => node.child.stop())

  it('is before recovered publications that it has not received: they are recovered again after a reconnect', async () => {
    const alice = await SdkClient.connect(node.wsUrl, { token: 'secret-a' })
    const subscription = await alice.subscribe('amid', { recoverable: true, positioned: true })
    await publish('amid', 1)
    await subscription.data(1)
    alice.close()
    await publish('amid', 2, 3, 4)
    // By then it has received the subscribe reply, and none of the recovered publications.
    subscription.sdk.once('subscribed', () => alice.close())
    alice.sdk.connect()
    await alice.disconnected.first(2)
    alice.sdk.connect()
    expect(await subscription.data(4)).toEqual([1, 2, 3, 4])
    alice.close()
  })

  it('is set by recover_since of the server API, and the publications since then are delivered', async () => {
    await publish('since', 1, 2, 3)
    const { body } = await callApi(node, 'history', { channel: 'since', limit: 1 })
    const epoch = body.result?.['epoch']
    const alice = await SdkClient.connect(node.wsUrl, { token: 'secret-a' })
    const recoverSince = { epoch, offset: 1 }
    await callApi(node, 'subscribe', { user: 'alice', channel: 'since', recover_since: recoverSince })
    await publish('since', 4)
    const publications = await alice.publications.first(3)
    expect(publications.map(({ data, offset }) => [data, offset])).toEqual([
      [2, 2],
      [3, 3],
      [4, 4],
    ])
    alice.close()
  })

  it('does not change which presence events it receives: joins are delivered after a reconnect too', async () => {
    const carol = new SdkClient(node.wsUrl, { token: sign({ sub: 'carol', channels: ['hall'] }) })
    for (const times of [1, 2]) {
      carol.sdk.connect()
      await carol.connected.first(times)
      const bob = await SdkClient.connect(node.wsUrl, { token: 'secret-b' })
      await bob.subscribe('hall')
      const client = bob.connected.items[0]?.client
      await carol.joins.find(({ info }) => info.client === client)
      bob.close()
      carol.close()
    }
  })
})
