import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { eventually, metric } from '../support/metric.js'
import { asAlice, connectTo, startNode } from '../support/node-in-application.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

/** With the longest delay that the configuration allows, so that publications wait on a slow machine too. */
const OPEN = { allow_subscribe_for_client: true, allow_publish_for_subscriber: true, delivery_delay: '1s' }
const SETTINGS = {
  FANFARE_AUTH_TOKENS: 'alice=secret-a,bob=secret-b',
  FANFARE_API_KEY: API_KEY,
  FANFARE_DRAIN_WINDOW: '0',
  FANFARE_NAMESPACES: JSON.stringify([
    { name: 'slow', ...OPEN },
    { name: 'history', ...OPEN, history_size: 100, history_ttl: '1m' },
  ]),
}

afterEach(cleanUp)

function openRaw(node: FanfareProcess, channel: string, token = 'secret-a'): Promise<RawClient> {
  return RawClient.connect(`${node.wsUrl}/ws/${channel}`, { token })
}

async function connectSdk(node: FanfareProcess): Promise<SdkClient> {
  const client = await SdkClient.connect(node.wsUrl, { token: 'secret-a' })
  afterThisTest(() => client.close())
  return client
}

async function publish(node: FanfareProcess, channel: string, ...numbers: number[]): Promise<void> {
  for (const data of numbers) {
    expect((await callApi(node, 'publish', { channel, data })).body).toHaveProperty('result')
  }
}

describe('in a namespace with a delivery delay', () => {
  let node: FanfareProcess

  beforeAll(async () => {
    node = await FanfareProcess.start(SETTINGS)
  })
  afterAll(() => node.child.stop())

  it('the first publication is delivered at once, and those within the delay after it together', async () => {
    const channel = 'slow:together'
    const raw = await openRaw(node, channel)
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    client.send('{"id":1,"connect":{"token":"secret-a"}}')
    client.send(`{"id":2,"subscribe":{"channel":"${channel}"}}`)
    await client.nextTexts(2)
    const delayed = async () => metric(await node.metrics(), 'fanfare_delayed_publications_total')
    const delayedBefore = await delayed()
    const dataOf = (frame: string) => [...frame.matchAll(/"data":(\d)/g)].map(([, data]) => Number(data))
    let rounds = 0
    // Repeats until the second request arrives within the delay after the first, as it does unless the machine is slow.
    do {
      await publish(node, channel, 1)
      expect(dataOf(await client.nextText())).toEqual([1])
      await callApi(node, 'batch', { commands: [2, 3].map((data) => ({ publish: { channel, data } })) })
      expect(dataOf(await client.nextText())).toEqual([2, 3])
      expect(await raw.nextTexts(3)).toEqual(['1', '2', '3'])
      rounds++
    } while ((await delayed()) === delayedBefore)
    const exposition = await node.metrics()
    const delivered = 'fanfare_deliveries_total'
    expect(metric(exposition, delivered, '{protocol="raw"}')).toBeGreaterThanOrEqual(3 * rounds)
    raw.close()
    client.close()
  })

  it('publications of clients wait too, and are delivered to all subscribers but their publisher', async () => {
    const [ann, rob, eve] = await Promise.all([1, 2, 3].map(() => openRaw(node, 'slow:chat')))
    ann?.send('1')
    await eve?.nextText()
    rob?.send('2')
    ann?.send('3')
    // Two connections have no order among them.
    expect((await eve?.nextTexts(2))?.sort()).toEqual(['2', '3'])
    expect(await ann?.nextText()).toBe('2')
    expect(await rob?.nextTexts(2)).toEqual(['1', '3'])
    for (const client of [ann, rob, eve]) client?.close()
  })

  it('a client that the server disconnects receives the earlier publications before', async () => {
    const [raw, sdk] = await Promise.all([openRaw(node, 'slow:raw'), connectSdk(node)])
    const subscription = await sdk.subscribe('slow:sdk')
    await publish(node, 'slow:raw', 1, 2)
    await publish(node, 'slow:sdk', 1, 2)
    await callApi(node, 'disconnect', { user: 'alice' })
    await raw.closed
    expect(raw.frames.map(({ data }) => data.toString())).toEqual(['1', '2'])
    expect(await subscription.data(2)).toEqual([1, 2])
  })

  it('a client that the server unsubscribes receives the earlier publications before', async () => {
    const channel = 'slow:unsubscribed'
    const subscription = await (await connectSdk(node)).subscribe(channel)
    await publish(node, channel, 1, 2)
    await callApi(node, 'unsubscribe', { user: 'alice', channel })
    await subscription.unsubscribed.first(1)
    expect(await subscription.data(2)).toEqual([1, 2])
  })

  it('a new subscriber receives no earlier publications', async () => {
    const channel = 'slow:newcomer'
    const earlier = await openRaw(node, channel)
    await publish(node, channel, 1, 2)
    const newcomer = await openRaw(node, channel)
    await publish(node, channel, 3)
    expect(await earlier.nextTexts(3)).toEqual(['1', '2', '3'])
    expect(await newcomer.nextText()).toBe('3')
    earlier.close()
    newcomer.close()
  })

  it('a positioned subscriber begins after the waiting publications, and no gap is detected', async () => {
    const channel = 'history:stream'
    const [alice, other] = await Promise.all([connectSdk(node), connectSdk(node)])
    const subscription = await alice.subscribe(channel, { positioned: true })
    await publish(node, channel, 1, 2)
    const later = await other.subscribe(channel, { positioned: true })
    expect((await later.subscribed.first(1))[0]?.streamPosition?.offset).toBe(2)
    await publish(node, channel, 3)
    expect(await later.data(1)).toEqual([3])
    expect(await subscription.data(3)).toEqual([1, 2, 3])
    expect(metric(await node.metrics(), 'fanfare_relay_gaps_total')).toBe(0)
  })

  it('a node that stops delivers waiting publications before it closes connections', async () => {
    const stopping = await FanfareProcess.start(SETTINGS)
    const raw = await openRaw(stopping, 'slow:stop')
    await publish(stopping, 'slow:stop', 1, 2)
    const stopped = stopping.child.stop()
    expect(await raw.nextTexts(2)).toEqual(['1', '2'])
    expect(await raw.closed).toEqual({ code: 1001, reason: 'Going away' })
    await stopped
  })
})

describe('a node that is busy', () => {
  /** Loads the event loop of this process, as many connections would, until the returned function is called. */
  function blockEventLoop(): () => void {
    let isOver = false
    const block = () => {
      const untilMs = performance.now() + 5
      while (performance.now() < untilMs);
      if (!isOver) setImmediate(block)
    }
    block()
    return () => {
      isOver = true
    }
  }

  it.each([
    ['delivers publications of a channel within a short time together, once and in order', '20ms', true],
    ['delivers publications at once when the setting is 0', '0', false],
  ])('%s', async (_does, busyDeliveryDelay, doesWait) => {
    const node = await startNode({ settings: { busyDeliveryDelay }, hooks: asAlice })
    const metrics = async () => (await fetch(`http://127.0.0.1:${node.internalPort}/metrics`)).text()
    const delayed = async () => metric(await metrics(), 'fanfare_delayed_publications_total')
    const subscription = await (await connectTo(node)).subscribe('room')
    let published = 0
    const publishMany = async (count: number) => {
      for (let turn = 0; turn < count; turn++) await node.publish('room', published++)
    }
    const unblock = blockEventLoop()
    afterThisTest(unblock)
    const busySinceMs = performance.now()
    await eventually(async () => {
      await publishMany(10)
      return doesWait ? (await delayed()) > 0 : performance.now() - busySinceMs > 1_000
    }, 'publications wait, or have had the time to')
    unblock()
    expect((await delayed()) > 0).toBe(doesWait)
    expect(await subscription.data(published)).toEqual(Array.from({ length: published }, (_, index) => index))
  })
})
