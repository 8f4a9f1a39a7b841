import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { PresenceEvent, Publication } from '../../src/protocol/publication.js'
import { BROKER_CLUSTERS, type BrokerCluster, type BrokerNode } from './broker-clusters.js'
import { clientInfo, digests, publication } from './publications.js'

describe.each(BROKER_CLUSTERS)('%s', (_, start) => {
  let cluster: BrokerCluster
  let nodes: BrokerCluster['nodes']
  let first: BrokerNode
  let last: BrokerNode
  let channels = 0
  let channel: string

  beforeAll(async () => {
    cluster = await start()
    nodes = cluster.nodes
    first = nodes[0]
    last = nodes.at(-1) ?? first
  })
  afterAll(() => cluster.close())
  beforeEach(() => {
    channel = `channel ${++channels}`
  })

  const subscribeAll = (name = channel) => Promise.all(nodes.map(({ broker }) => broker.subscribe(name)))

  /** Resolves once everything that was published before has been delivered on all nodes. */
  async function everythingDelivered(): Promise<void> {
    const sentinel = `${channel} sentinel`
    await subscribeAll(sentinel)
    for (const { broker } of nodes) await broker.publish(sentinel, publication('now'))
    await Promise.all(nodes.map(({ recorder }) => recorder.until(sentinel, nodes.length)))
  }

  it('delivers to every subscribed node, including the publishing one', async () => {
    await subscribeAll()
    await first.broker.publish(channel, publication('hello'))
    for (const { recorder } of nodes) {
      expect(await recorder.until(channel, 1)).toEqual([publication('hello')])
    }
  })

  it('delivers each event once', async () => {
    await subscribeAll()
    for (const { broker } of nodes) await broker.publish(channel, publication('hello'))
    await everythingDelivered()
    for (const { recorder } of nodes) expect(recorder.of(channel)).toHaveLength(nodes.length)
  })

  it('delivers nothing of a channel that is not subscribed', async () => {
    await subscribeAll()
    for (const other of [`${channel}0`, channel.toUpperCase(), `${channel}:`, '*']) {
      await first.broker.publish(other, publication('hello'))
    }
    await everythingDelivered()
    for (const { recorder } of nodes) expect(recorder.of(channel)).toEqual([])
  })

  it('delivers nothing after an unsubscribe, and delivers again after another subscribe', async () => {
    await subscribeAll()
    await first.broker.publish(channel, publication('one'))
    for (const { recorder } of nodes) await recorder.until(channel, 1)
    last.broker.unsubscribe(channel)
    await everythingDelivered()
    await first.broker.publish(channel, publication('two'))
    await everythingDelivered()
    expect(last.recorder.textsOf(channel)).toEqual(['one'])
    await last.broker.subscribe(channel)
    await first.broker.publish(channel, publication('three'))
    await last.recorder.until(channel, 2)
    expect(last.recorder.textsOf(channel)).toEqual(['one', 'three'])
  })

  it('keeps the subscription of a channel that is unsubscribed and subscribed again at once', async () => {
    await subscribeAll()
    for (let turn = 0; turn < 10; turn++) {
      last.broker.unsubscribe(channel)
      await last.broker.subscribe(channel)
      await first.broker.publish(channel, publication(`${turn}`))
      await last.recorder.until(channel, turn + 1)
    }
    expect(last.recorder.textsOf(channel)).toEqual(Array.from({ length: 10 }, (_, turn) => `${turn}`))
  })

  it('ignores an unsubscribe from a channel that was never subscribed', async () => {
    first.broker.unsubscribe(channel)
    await subscribeAll()
    await first.broker.publish(channel, publication('hello'))
    await last.recorder.until(channel, 1)
  })

  it('publishes to a channel without subscribers', async () => {
    await expect(first.broker.publish(channel, publication('hello'))).resolves.toBeUndefined()
  })

  it('subscribes to many channels at once', async () => {
    const names = Array.from({ length: 500 }, (_, index) => `${channel} ${index}`)
    await Promise.all(names.map((name) => last.broker.subscribe(name)))
    await Promise.all(names.map((name) => first.broker.publish(name, publication(name))))
    for (const name of names) expect(await last.recorder.until(name, 1)).toEqual([publication(name)])
  })

  it('keeps the order of one publisher across bursts in one tick', async () => {
    await subscribeAll()
    const texts = Array.from({ length: 500 }, (_, index) => `${index}`)
    await Promise.all(texts.map((text) => first.broker.publish(channel, publication(text))))
    for (const text of texts) await first.broker.publish(channel, publication(text))
    for (const { recorder } of nodes) {
      await recorder.until(channel, 1_000)
      expect(recorder.textsOf(channel)).toEqual([...texts, ...texts])
    }
  })

  it('delivers in one order to all nodes when all publish at the same time', async () => {
    await subscribeAll()
    const count = 300
    const publish = async ({ broker }: BrokerNode, node: number) => {
      for (let index = 0; index < count; index += 3) {
        // One alone and two together, so that batches of different sizes cross each other.
        await broker.publish(channel, publication(`${node}-${index}`))
        await Promise.all(
          [1, 2].map((more) => broker.publish(channel, publication(`${node}-${index + more}`))),
        )
      }
    }
    await Promise.all(nodes.map(publish))
    for (const { recorder } of nodes) await recorder.until(channel, count * nodes.length)
    const order = first.recorder.textsOf(channel)
    for (const { recorder } of nodes) expect(recorder.textsOf(channel)).toEqual(order)
    for (const node of nodes.keys()) {
      const own = order.filter((text) => text.startsWith(`${node}-`))
      expect(own).toEqual(Array.from({ length: count }, (_, index) => `${node}-${index}`))
    }
  })

  it.each([
    ['that is empty', Buffer.alloc(0)],
    ['of 1 MiB', randomBytes(1024 ** 2)],
    ['that is not UTF-8', Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0x00])],
    ['of every byte', Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
    ['full of newlines', Buffer.from('\r\n\n\r\n$-1\r\n*3\r\n')],
  ])('delivers a payload %s byte for byte', async (_, data) => {
    await subscribeAll()
    await first.broker.publish(channel, publication(data, { isBinary: true }))
    for (const { recorder } of nodes) {
      const arrived = await recorder.until(channel, 1)
      expect(digests(arrived)).toEqual(digests([publication(data, { isBinary: true })]))
    }
  })

  it('delivers payloads of different sizes in one burst byte for byte', async () => {
    await subscribeAll()
    const sizes = [0, 1, 300_000, 0, 70_000, 200_000, 3, 1_048_576, 0]
    const sent = sizes.map((size) => publication(randomBytes(size), { isBinary: true }))
    await Promise.all(sent.map((one) => first.broker.publish(channel, one)))
    for (const { recorder } of nodes) {
      expect(digests(await recorder.until(channel, sent.length))).toEqual(digests(sent))
    }
  })

  it('delivers every field of a publication', async () => {
    await subscribeAll()
    const sent: Publication[] = [
      publication('text'),
      publication('binary', { isBinary: true }),
      publication('but', { excludedClient: '9b2e6a0e-93bd-4c4f-a3a1-4f2b6c0a6d55' }),
      publication('both', { isBinary: true, excludedClient: 'ann' }),
      publication('{"a":1}', { isJson: true }),
      publication('of ann', { info: { ...clientInfo('c-1', 'ann'), connInfo: '{"a":1}', chanInfo: '"Ån"' } }),
      publication('tagged', { tags: { kind: 'Ån', __proto__: 'x' } }),
      publication('past', { publishedAtMs: 0 }),
      publication('fraction', { publishedAtMs: 1_800_000_000_000.25 }),
    ]
    await Promise.all(sent.map((one) => first.broker.publish(channel, one)))
    for (const { recorder } of nodes) expect(await recorder.until(channel, sent.length)).toEqual(sent)
  })

  it('delivers joins and leaves in order with publications', async () => {
    await subscribeAll()
    const join: PresenceEvent = { type: 'join', info: clientInfo('c-1', 'ann'), online: 2 }
    const leave: PresenceEvent = { type: 'leave', info: clientInfo('c-1', '"Ån\n'), online: undefined }
    const sent = [join, publication('hello'), leave]
    await Promise.all(sent.map((one) => first.broker.publish(channel, one)))
    for (const { recorder } of nodes) expect(await recorder.until(channel, 3)).toEqual(sent)
  })

  it('has copied the payload when publish returns, so that the caller may overwrite it', async () => {
    await subscribeAll()
    const data = Buffer.from('before')
    const published = Promise.all(
      Array.from({ length: 10 }, () => {
        data.write('before')
        const done = first.broker.publish(channel, { ...publication(''), data })
        data.fill('x')
        return done
      }),
    )
    await published
    for (const { recorder } of nodes) {
      await recorder.until(channel, 10)
      expect(new Set(recorder.textsOf(channel))).toEqual(new Set(['before']))
    }
  })
})
