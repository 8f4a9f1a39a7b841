import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { PublicationBuffer } from '../../src/hub/publication-buffer.js'
import type { Publication } from '../../src/protocol/publication.js'
import { StreamReader, type StreamReaderOptions } from '../../src/session/stream-reader.js'
import { publication } from '../contract/publications.js'
import { namespace } from '../support/namespace.js'

/** Above the size of every history that is read here. */
const MAX_BYTES = 1_000

const CHANNEL = 'room'

/** A channel with a number of publications, of which its stream keeps the latest `kept`. */
async function channelWith(published: number, kept: number) {
  const broker = new MemoryBroker()
  const stream = { size: kept, ttlMs: 60_000, metaTtlMs: 60_000 }
  const buffer = new PublicationBuffer()
  const received: Publication[] = []
  broker.start({
    resumed: () => undefined,
    hasPresenceWatchers: () => false,
    receive: (_channel, events) => {
      for (const event of events) {
        if (event.type !== 'publication') continue
        received.push(event)
        buffer.add(event)
      }
    },
  })
  await broker.subscribe(CHANNEL)
  const options = { stream, idempotencyKey: undefined }
  const publish = (count: number) =>
    Promise.all(
      Array.from({ length: count }, () =>
        broker.publish(CHANNEL, publication(`${received.length}`), options),
      ),
    )
  await publish(published)
  // The subscriber begins to read now: only later publications are buffered for it.
  buffer.publications.length = 0
  const { epoch } = (
    await broker.history(CHANNEL, { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs: 60_000 })
  ).position
  return { broker, buffer, epoch, publish }
}

const offsets = (publications: readonly Publication[]) => publications.map(({ position }) => position?.offset)
const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from) }, (_, index) => from + 1 + index)

function readerOf(
  options: Partial<StreamReaderOptions> & Pick<StreamReaderOptions, 'broker' | 'buffer' | 'since'>,
): StreamReader {
  const defaults = { channel: CHANNEL, namespace: namespace(), maxPublications: 100, maxBytes: MAX_BYTES }
  return new StreamReader({ ...defaults, ...options })
}

describe('a subscriber that recovers', () => {
  it('gets exactly the publications that it missed or recovered: false, whatever is published meanwhile', async () => {
    const numbers = {
      published: fc.nat(30),
      kept: fc.integer({ min: 1, max: 30 }),
      seen: fc.nat(35),
      during: fc.nat(10),
    }
    await fc.assert(
      fc.asyncProperty(
        fc.record(numbers),
        fc.boolean(),
        async ({ published, kept, seen, during }, isBeforeRead) => {
          const { broker, buffer, epoch, publish } = await channelWith(published, kept)
          const since = { epoch, offset: seen }
          const reader = readerOf({ broker, buffer, since })
          if (isBeforeRead) await publish(during)
          await reader.read()
          if (!isBeforeRead) await publish(during)
          const start = reader.start(MAX_BYTES)
          const isKept =
            seen <= published + (isBeforeRead ? during : 0) &&
            published + (isBeforeRead ? during : 0) - seen <= kept
          expect(start?.recovered).toBe(isKept)
          expect(start?.position).toEqual({ epoch, offset: published + during })
          expect(offsets(start?.publications ?? [])).toEqual(isKept ? range(seen, published + during) : [])
        },
      ),
    )
  })

  it('does not recover in a stream with another epoch', async () => {
    const { broker, buffer } = await channelWith(5, 10)
    const since = { epoch: 'another', offset: 3 }
    const reader = readerOf({ broker, buffer, since })
    await reader.read()
    expect(reader.start(MAX_BYTES)).toMatchObject({ recovered: false, publications: [] })
  })

  it('does not recover when it missed more publications than the limit', async () => {
    const { broker, buffer, epoch } = await channelWith(20, 30)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 3 }, maxPublications: 10 })
    await reader.read()
    expect(reader.start(MAX_BYTES)).toMatchObject({
      recovered: false,
      publications: [],
      position: { offset: 20 },
    })
  })

  it('gets all but those that its node cannot read, in the history as after it', async () => {
    const { broker, buffer, epoch, publish } = await channelWith(2, 10)
    const unknown = publication('', { isUnknown: true })
    const options = { stream: { size: 10, ttlMs: 60_000, metaTtlMs: 60_000 }, idempotencyKey: undefined }
    await broker.publish(CHANNEL, unknown, options)
    await publish(1)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 1 } })
    await reader.read()
    await broker.publish(CHANNEL, unknown, options)
    await publish(1)
    const start = reader.start(MAX_BYTES)
    expect(start).toMatchObject({ recovered: true, position: { epoch, offset: 6 } })
    expect(offsets(start?.publications ?? [])).toEqual([2, 4, 6])
  })

  it('does not recover in cache mode when its node cannot read the latest publication', async () => {
    const { broker, buffer, epoch } = await channelWith(2, 10)
    const options = { stream: { size: 10, ttlMs: 60_000, metaTtlMs: 60_000 }, idempotencyKey: undefined }
    await broker.publish(CHANNEL, publication('', { isUnknown: true }), options)
    const cache = namespace({ forceRecoveryMode: 'cache' })
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 1 }, namespace: cache })
    await reader.read()
    expect(reader.start(MAX_BYTES)).toMatchObject({
      recovered: false,
      publications: [],
      position: { epoch, offset: 3 },
    })
  })

  it('gets only the latest publication in cache mode, unless it has that one', async () => {
    const { broker, buffer, epoch } = await channelWith(5, 10)
    const cache = namespace({ forceRecoveryMode: 'cache' })
    for (const [since, expected] of [
      [{ epoch: 'another', offset: 1 }, [5]],
      [{ epoch, offset: 2 }, [5]],
      [{ epoch, offset: 5 }, []],
    ] as const) {
      const reader = readerOf({ broker, buffer, since, namespace: cache })
      await reader.read()
      const start = reader.start(MAX_BYTES)
      expect(start?.recovered).toBe(true)
      expect(offsets(start?.publications ?? [])).toEqual(expected)
    }
  })

  it('does not recover a latest publication that is larger than it may be sent, and would ask for again and again', async () => {
    const { broker, buffer, epoch } = await channelWith(1, 10)
    const cache = namespace({ forceRecoveryMode: 'cache' })
    const options = { stream: { size: 1, ttlMs: 60_000, metaTtlMs: 60_000 }, idempotencyKey: undefined }
    await broker.publish(CHANNEL, publication('x'.repeat(2 * MAX_BYTES + 1)), options)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 1 }, namespace: cache })
    await reader.read()
    expect(reader.start(MAX_BYTES)).toMatchObject({
      recovered: false,
      publications: [],
      position: { epoch, offset: 2 },
    })
  })

  it.each([
    ['an empty stream', 0],
    ['a stream with publications', 5],
  ])(
    'gets only the latest publication in cache mode when that is published during the read of %s',
    async (_what, published) => {
      const { broker, buffer, epoch, publish } = await channelWith(published, 10)
      const cache = namespace({ forceRecoveryMode: 'cache' })
      const since = { epoch, offset: 0 }
      const reader = readerOf({ broker, buffer, since, namespace: cache })
      await reader.read()
      await publish(2)
      const start = reader.start(MAX_BYTES)
      expect(start).toMatchObject({ recovered: true, position: { epoch, offset: published + 2 } })
      expect(offsets(start?.publications ?? [])).toEqual([published + 2])
    },
  )

  it('reads again when the buffered publications do not follow the history', async () => {
    const { broker, buffer, epoch } = await channelWith(5, 10)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 4 } })
    await reader.read()
    buffer.add(publication('lost one before', { position: { epoch, offset: 7 } }))
    expect(reader.start(MAX_BYTES)).toBeUndefined()
  })

  it('fails when more is published during the read than the buffer keeps', async () => {
    const { broker, buffer, epoch } = await channelWith(1, 1)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 1 } })
    await reader.read()
    const large = publication(Buffer.alloc(1024 * 1024))
    for (let index = 0; index < 17; index++) buffer.add(large)
    expect(() => reader.start(MAX_BYTES)).toThrow(/too much/)
  })
})
