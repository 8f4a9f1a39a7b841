import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Broker, HistoryQuery, PublishOptions } from '../../src/broker/broker.js'
import type { StreamPosition } from '../../src/protocol/publication.js'
import { BROKER_CLUSTERS, type BrokerCluster, type BrokerNode } from './broker-clusters.js'
import { publishTexts, storedTexts } from './history.js'
import { clientInfo, publication } from './publications.js'

const HOUR_MS = 3_600_000
const STREAM = { size: 100, ttlMs: HOUR_MS, metaTtlMs: HOUR_MS }
const WITH_HISTORY: PublishOptions = { stream: STREAM, idempotencyKey: undefined }
const ALL: HistoryQuery = { limit: 1_000, sinceOffset: undefined, isReverse: false, metaTtlMs: HOUR_MS }

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
    for (const { broker } of nodes) await broker.subscribe('warm-up')
  })
  afterAll(() => cluster.close())
  beforeEach(() => {
    // Redis Cluster takes the slot of a key from its braces.
    channel = `}channel{${++channels}}`
  })

  const subscribeAll = () => Promise.all(nodes.map(({ broker }) => broker.subscribe(channel)))
  const texts = (count: number) => Array.from({ length: count }, (_, index) => `${index + 1}`)

  function publish(data: readonly string[], options = WITH_HISTORY, broker: Broker = first.broker) {
    return publishTexts(broker, channel, data, options)
  }

  function offsets(positions: readonly (StreamPosition | undefined)[]) {
    return positions.map((position) => position?.offset)
  }

  function stored(query: Partial<HistoryQuery> = {}): Promise<string[]> {
    return storedTexts(last.broker, channel, { ...ALL, ...query })
  }

  async function position(metaTtlMs = HOUR_MS): Promise<StreamPosition> {
    return (await last.broker.history(channel, { ...ALL, limit: 0, metaTtlMs })).position
  }

  it('reads the positions of many channels at once, and begins no stream by it', async () => {
    const published = await publish(['1', '2'])
    const names = [channel, ...Array.from({ length: 50 }, (_, index) => `${channel} ${index}`)]
    const queries = names.map((name) => ({ channel: name, metaTtlMs: HOUR_MS }))
    for (let call = 0; call < 2; call++) {
      const [position, ...others] = await last.broker.positions(queries)
      expect(position).toEqual(published.at(-1))
      expect(new Set(others)).toEqual(new Set(['none']))
    }
  })

  describe('publishing with history', () => {
    it('numbers publications from 1 in one epoch, on every node', async () => {
      const positions: (StreamPosition | undefined)[] = []
      for (const { broker } of [first, last, first])
        positions.push(...(await publish(['x'], WITH_HISTORY, broker)))
      expect(offsets(positions)).toEqual([1, 2, 3])
      expect(new Set(positions.map((one) => one?.epoch)).size).toBe(1)
      expect(await position()).toEqual(positions[2])
    })

    it('gives a burst in one tick consecutive offsets, and delivers it in their order to all nodes', async () => {
      await subscribeAll()
      const positions = await publish(texts(300))
      expect(offsets(positions)).toEqual(Array.from({ length: 300 }, (_, index) => index + 1))
      for (const { recorder } of nodes) {
        const arrived = await recorder.until(channel, 300)
        expect(arrived).toEqual(texts(300).map((text, i) => publication(text, { position: positions[i] })))
      }
    })

    it('gives each publication of all nodes its own offset, in the order of delivery', async () => {
      await subscribeAll()
      const published = await Promise.all(
        nodes.map(({ broker }) => publish(texts(100), WITH_HISTORY, broker)),
      )
      const count = 100 * nodes.length
      const inOrder = Array.from({ length: count }, (_, index) => index + 1)
      expect(offsets(published.flat()).sort((a, b) => Number(a) - Number(b))).toEqual(inOrder)
      for (const { recorder } of nodes) {
        const arrived = await recorder.until(channel, count)
        expect(arrived.map((one) => one.type === 'publication' && one.position?.offset)).toEqual(inOrder)
      }
    })

    it('keeps the order of publications with and without history, joins and other limits in one burst', async () => {
      await subscribeAll()
      const { broker } = first
      const larger = { ...WITH_HISTORY, stream: { ...STREAM, size: 101 } }
      const join = { type: 'join', info: clientInfo('c-1', 'ann'), online: 1 } as const
      const positions = await Promise.all([
        broker.publish(channel, publication('1'), WITH_HISTORY),
        broker.publish(channel, publication('plain')),
        broker.publish(channel, join, WITH_HISTORY),
        broker.publish(channel, publication('2'), WITH_HISTORY),
        broker.publish(channel, publication('3'), larger),
        broker.publish(channel, publication('4'), { ...WITH_HISTORY, idempotencyKey: 'four' }),
        broker.publish(channel, publication('once'), { stream: undefined, idempotencyKey: 'once' }),
        broker.publish(channel, publication('5'), WITH_HISTORY),
      ])
      expect(offsets(positions)).toEqual([1, undefined, undefined, 2, 3, 4, undefined, 5])
      for (const { recorder } of nodes) {
        await recorder.until(channel, positions.length)
        expect(recorder.textsOf(channel)).toEqual(['1', 'plain', 'join', '2', '3', '4', 'once', '5'])
      }
      expect(await stored()).toEqual(['1 1', '2 2', '3 3', '4 4', '5 5'])
    })

    it('keeps the order of large publications too', async () => {
      const sizes = [200_000, 100_000, 300_000, 1]
      const publishBytes = (size: number) =>
        first.broker.publish(channel, publication(Buffer.alloc(size)), WITH_HISTORY)
      expect(offsets(await Promise.all(sizes.map(publishBytes)))).toEqual([1, 2, 3, 4])
      const { publications } = await last.broker.history(channel, ALL)
      expect(publications.map(({ data }) => data.length)).toEqual(sizes)
    })

    it('has copied the payload when publish returns, so that the caller may overwrite it', async () => {
      const data = Buffer.from('before')
      const published = first.broker.publish(channel, { ...publication(''), data }, WITH_HISTORY)
      data.fill('x')
      await published
      expect(await stored()).toEqual(['1 before'])
    })
  })

  describe('history', () => {
    it('returns publications up to the byte limit, and at least one', async () => {
      const sizes = [...Array.from({ length: 30 }, () => 1_000), 50_000]
      await Promise.all(
        sizes.map((size) => first.broker.publish(channel, publication(Buffer.alloc(size)), WITH_HISTORY)),
      )
      const read = async (query: Partial<HistoryQuery>) => {
        const history = await last.broker.history(channel, { ...ALL, ...query })
        expect(history.position.offset).toBe(31)
        return history.publications.map((one) => one.position?.offset)
      }
      // The stored form of each may be some bytes larger.
      expect(await read({ maxBytes: 3_900 })).toEqual([1, 2, 3])
      expect(await read({ maxBytes: 20_900, sinceOffset: 5 })).toEqual(
        Array.from({ length: 20 }, (_, index) => index + 6),
      )
      expect(await read({ maxBytes: 60_000, limit: 20 })).toHaveLength(20)
      expect(await read({ maxBytes: 100_000 })).toHaveLength(31)
      expect(await read({ maxBytes: 1 })).toEqual([1])
      expect(await read({ maxBytes: 51_900, isReverse: true })).toEqual([31, 30])
      expect(await read({ maxBytes: 1, isReverse: true })).toEqual([31])
    })

    it('is empty at first, with the position before the first publication', async () => {
      const empty = await last.broker.history(channel, ALL)
      expect(empty).toEqual({
        publications: [],
        position: { epoch: expect.stringMatching(/^[0-9a-f]{12}$/), offset: 0 },
      })
      expect(await publish(['1'])).toEqual([{ epoch: empty.position.epoch, offset: 1 }])
    })

    it('returns every field of a publication', async () => {
      const sent = [
        publication('text'),
        publication(Buffer.from([0, 255, 10]), { isBinary: true, excludedClient: 'ann' }),
        publication('{"a":1}', { isJson: true, tags: { kind: 'Ån' }, publishedAtMs: 0.25 }),
        publication('x', { info: { ...clientInfo('c-1', 'ann'), connInfo: '{"a":1}', chanInfo: '[]' } }),
      ]
      const positions = await Promise.all(sent.map((one) => first.broker.publish(channel, one, WITH_HISTORY)))
      const { publications } = await last.broker.history(channel, ALL)
      expect(publications).toEqual(sent.map((one, index) => ({ ...one, position: positions[index] })))
    })

    it.each<[string, Partial<HistoryQuery>, string[]]>([
      ['from the start', {}, ['1', '2', '3', '4', '5']],
      ['no more than the limit', { limit: 2 }, ['1', '2']],
      ['nothing, for the limit 0', { limit: 0 }, []],
      ['after an offset', { sinceOffset: 3 }, ['4', '5']],
      ['after offset 0', { sinceOffset: 0 }, ['1', '2', '3', '4', '5']],
      ['after the top', { sinceOffset: 5 }, []],
      ['after an offset beyond the top', { sinceOffset: Number.MAX_VALUE }, []],
      ['after an offset, no more than the limit', { sinceOffset: 1, limit: 2 }, ['2', '3']],
      ['from the end', { isReverse: true }, ['5', '4', '3', '2', '1']],
      ['from the end, no more than the limit', { isReverse: true, limit: 2 }, ['5', '4']],
      ['before an offset', { isReverse: true, sinceOffset: 3 }, ['2', '1']],
      ['before an offset, no more than the limit', { isReverse: true, sinceOffset: 4, limit: 1 }, ['3']],
      ['before all', { isReverse: true, sinceOffset: 1 }, []],
      ['before offset 0', { isReverse: true, sinceOffset: 0 }, []],
      ['before an offset beyond the top', { isReverse: true, sinceOffset: 1e300 }, ['5', '4', '3', '2', '1']],
    ])('is read %s', async (_, query, expected) => {
      await publish(texts(5))
      expect(await stored(query)).toEqual(expected.map((text) => `${text} ${text}`))
      expect((await position()).offset).toBe(5)
    })

    it('contains at most the latest `size` publications', async () => {
      const small = { ...WITH_HISTORY, stream: { ...STREAM, size: 3 } }
      await publish(texts(5), small)
      expect(await stored()).toEqual(['3 3', '4 4', '5 5'])
      await publish(['6'], small)
      expect(await stored()).toEqual(['4 4', '5 5', '6 6'])
      await publish(['7'], { ...WITH_HISTORY, stream: { ...STREAM, size: 1 } })
      expect(await stored()).toEqual(['7 7'])
    })

    it('loses its publications one time to live after the latest, and continues with the next offset', async () => {
      const brief = { ...WITH_HISTORY, stream: { ...STREAM, ttlMs: 20 } }
      const [, second] = await publish(texts(2), brief)
      await cluster.publicationsExpired(channel, 20)
      expect(await last.broker.history(channel, ALL)).toEqual({ publications: [], position: second })
      await publish(['3'])
      expect(await stored()).toEqual(['3 3'])
    })

    it('begins a new epoch without publications once the old one has expired', async () => {
      const brief = { ...WITH_HISTORY, stream: { ...STREAM, metaTtlMs: 20 } }
      const [old] = await publish(['1'], brief)
      await cluster.epochExpired(channel, 20)
      const fresh = await last.broker.history(channel, ALL)
      expect(fresh).toEqual({ publications: [], position: { epoch: expect.any(String), offset: 0 } })
      expect(fresh.position.epoch).not.toBe(old?.epoch)
      expect(await publish(['again'])).toEqual([{ epoch: fresh.position.epoch, offset: 1 }])
    })

    it('begins a new epoch with a publication too', async () => {
      const [old] = await publish(['1'], { ...WITH_HISTORY, stream: { ...STREAM, metaTtlMs: 20 } })
      await cluster.epochExpired(channel, 20)
      const [fresh] = await publish(['again'])
      expect(fresh?.offset).toBe(1)
      expect(fresh?.epoch).not.toBe(old?.epoch)
      expect(await stored()).toEqual(['1 again'])
    })

    it('keeps the epoch as long as a query asks for', async () => {
      const [old] = await publish(['1'], {
        ...WITH_HISTORY,
        stream: { ...STREAM, ttlMs: 20, metaTtlMs: 500 },
      })
      expect(await position()).toEqual(old)
      await cluster.publicationsExpired(channel, 1_000)
      expect(await position()).toEqual(old)
    })

    it('is removed without its epoch and offset', async () => {
      const [, second] = await publish(texts(2))
      await first.broker.removeHistory(channel)
      expect(await last.broker.history(channel, ALL)).toEqual({ publications: [], position: second })
      await publish(['3'])
      expect(await stored()).toEqual(['3 3'])
    })

    it('can be removed where there is none', async () => {
      await first.broker.removeHistory(channel)
      expect(await stored()).toEqual([])
    })
  })

  describe('an idempotency key', () => {
    const once = (idempotencyKey: string) => ({ ...WITH_HISTORY, idempotencyKey })

    it('is published once, and returns the first result again on every node', async () => {
      await subscribeAll()
      const positions = [
        ...(await publish(['1'], once('a'))),
        ...(await publish(['again'], once('a'), last.broker)),
        ...(await publish(['2'], once('b'))),
        ...(await publish(['3'])),
        ...(await publish(['again'], once('a'))),
      ]
      expect(offsets(positions)).toEqual([1, 1, 2, 3, 1])
      expect(await stored()).toEqual(['1 1', '2 2', '3 3'])
      for (const { recorder } of nodes) {
        await recorder.until(channel, 3)
        expect(recorder.textsOf(channel)).toEqual(['1', '2', '3'])
      }
    })

    it('is published once when it is used many times at once', async () => {
      const all = await Promise.all(
        nodes.map(({ broker }) => publish(Array(20).fill('x'), once('a'), broker)),
      )
      expect(new Set(offsets(all.flat()))).toEqual(new Set([1]))
      expect(await stored()).toEqual(['1 x'])
    })

    it('works without history', async () => {
      await subscribeAll()
      const options = { stream: undefined, idempotencyKey: 'a' }
      for (const { broker } of nodes) {
        expect(await publish(['x', 'x'], options, broker)).toEqual([undefined, undefined])
      }
      await publish(['end'])
      for (const { recorder } of nodes) {
        await recorder.until(channel, 2)
        expect(recorder.textsOf(channel)).toEqual(['x', 'end'])
      }
    })

    it.each(['', ' ', '}', 'x'.repeat(10_000), 'Ån\n'])('may be %j', async (key) => {
      expect(offsets(await publish(['1', '2'], once(key)))).toEqual([1, 1])
    })

    it('applies to its channel only', async () => {
      await publish(['1'], once('a'))
      const other = await first.broker.publish(`${channel}a`, publication('1'), once('a'))
      expect(other?.epoch).not.toBe((await position()).epoch)
    })
  })
})
