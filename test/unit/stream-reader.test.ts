import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { PublicationBuffer } from '../../src/hub/publication-buffer.js'
import type { Publication } from '../../src/protocol/publication.js'
import { StreamReader, type StreamReaderOptions } from '../../src/session/stream-reader.js'
import { publication } from '../contract/publications.js'
import { namespace } from '../support/namespace.js'

/** More than is read here. */
const MAX_BYTES = 1_000

const CHANNEL = 'room'

/** A channel of which so many publications were made, so many are kept, and so many come while history is read. */
async function channelWith(made: number, kept: number, during: number) {
  const broker = new MemoryBroker()
  const stream = { size: kept, ttlMs: 60_000, metaTtlMs: 60_000 }
  const buffer = new PublicationBuffer()
  const heard: Publication[] = []
  broker.start({
    resumed: () => undefined,
    hasPresenceWatchers: () => false,
    receive: (_channel, events) => {
      for (const event of events) {
        if (event.type !== 'publication') continue
        heard.push(event)
        buffer.add(event)
      }
    },
  })
  await broker.subscribe(CHANNEL)
  const options = { stream, idempotencyKey: undefined }
  const say = (count: number) =>
    Promise.all(
      Array.from({ length: count }, () => broker.publish(CHANNEL, publication(`${heard.length}`), options)),
    )
  await say(made)
  // The subscriber comes now.
  buffer.publications.length = 0
  const { epoch } = (
    await broker.history(CHANNEL, { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs: 60_000 })
  ).position
  return { broker, buffer, epoch, say, during }
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

describe('a subscriber that comes back', () => {
  it('recovers exactly what it missed, or is told that it cannot, whatever is published meanwhile', async () => {
    const numbers = {
      made: fc.nat(30),
      kept: fc.integer({ min: 1, max: 30 }),
      seen: fc.nat(35),
      during: fc.nat(10),
    }
    await fc.assert(
      fc.asyncProperty(fc.record(numbers), fc.boolean(), async ({ made, kept, seen, during }, isEarly) => {
        const { broker, buffer, epoch, say } = await channelWith(made, kept, during)
        const since = { epoch, offset: seen }
        const reader = readerOf({ broker, buffer, since })
        if (isEarly) await say(during)
        await reader.read()
        if (!isEarly) await say(during)
        const start = reader.start(MAX_BYTES)
        const isKept = seen <= made + (isEarly ? during : 0) && made + (isEarly ? during : 0) - seen <= kept
        expect(start?.recovered).toBe(isKept)
        expect(start?.position).toEqual({ epoch, offset: made + during })
        expect(offsets(start?.publications ?? [])).toEqual(isKept ? range(seen, made + during) : [])
      }),
    )
  })

  it('does not recover in a stream that began anew', async () => {
    const { broker, buffer } = await channelWith(5, 10, 0)
    const since = { epoch: 'another', offset: 3 }
    const reader = readerOf({ broker, buffer, since })
    await reader.read()
    expect(reader.start(MAX_BYTES)).toMatchObject({ recovered: false, publications: [] })
  })

  it('does not recover more than may be recovered at once', async () => {
    const { broker, buffer, epoch } = await channelWith(20, 30, 0)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 3 }, maxPublications: 10 })
    await reader.read()
    expect(reader.start(MAX_BYTES)).toMatchObject({
      recovered: false,
      publications: [],
      position: { offset: 20 },
    })
  })

  it('gets the latest publication alone in cache mode, unless it has it', async () => {
    const { broker, buffer, epoch } = await channelWith(5, 10, 0)
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

  it.each([
    ['nothing was kept', 0],
    ['something was', 5],
  ])('gets the latest alone in cache mode also when it came meanwhile and %s', async (_what, made) => {
    const { broker, buffer, epoch, say } = await channelWith(made, 10, 2)
    const cache = namespace({ forceRecoveryMode: 'cache' })
    const since = { epoch, offset: 0 }
    const reader = readerOf({ broker, buffer, since, namespace: cache })
    await reader.read()
    await say(2)
    const start = reader.start(MAX_BYTES)
    expect(start).toMatchObject({ recovered: true, position: { epoch, offset: made + 2 } })
    expect(offsets(start?.publications ?? [])).toEqual([made + 2])
  })

  it('reads again when what came meanwhile does not follow', async () => {
    const { broker, buffer, epoch } = await channelWith(5, 10, 0)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 4 } })
    await reader.read()
    buffer.add(publication('lost one before', { position: { epoch, offset: 7 } }))
    expect(reader.start(MAX_BYTES)).toBeUndefined()
  })

  it('starts over when more came meanwhile than is kept', async () => {
    const { broker, buffer, epoch } = await channelWith(1, 1, 0)
    const reader = readerOf({ broker, buffer, since: { epoch, offset: 1 } })
    await reader.read()
    const large = publication(Buffer.alloc(1024 * 1024))
    for (let index = 0; index < 17; index++) buffer.add(large)
    expect(() => reader.start(MAX_BYTES)).toThrow(/too much/)
  })
})
