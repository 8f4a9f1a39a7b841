import { createSigner } from 'fast-jwt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { SdkClient } from '../support/sdk-client.js'

const SECRET = 'a secret that signs tokens, long enough'
const sign = createSigner({ key: SECRET, algorithm: 'HS256' })

describe('where an SDK client stands in a stream', () => {
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

  it('is behind what it has been handed: who leaves amid recovered publications gets the rest later', async () => {
    const alice = await SdkClient.connect(node.wsUrl, { token: 'secret-a' })
    const heard = await alice.subscribe('amid', { recoverable: true, positioned: true })
    await publish('amid', 1)
    await heard.data(1)
    alice.close()
    await publish('amid', 2, 3, 4)
    // Told that it is subscribed, and not yet of what it missed.
    heard.sdk.once('subscribed', () => alice.close())
    alice.sdk.connect()
    await alice.disconnected.first(2)
    alice.sdk.connect()
    expect(await heard.data(4)).toEqual([1, 2, 3, 4])
    alice.close()
  })

  it('is where the server’s API says it was, and all since then comes', async () => {
    await publish('since', 1, 2, 3)
    const { body } = await callApi(node, 'history', { channel: 'since', limit: 1 })
    const epoch = body.result?.['epoch']
    const alice = await SdkClient.connect(node.wsUrl, { token: 'secret-a' })
    const recoverSince = { epoch, offset: 1 }
    await callApi(node, 'subscribe', { user: 'alice', channel: 'since', recover_since: recoverSince })
    await publish('since', 4)
    const heard = await alice.publications.first(3)
    expect(heard.map(({ data, offset }) => [data, offset])).toEqual([
      [2, 2],
      [3, 3],
      [4, 4],
    ])
    alice.close()
  })

  it('does not change what it hears of others: joins come after it has come back, too', async () => {
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
