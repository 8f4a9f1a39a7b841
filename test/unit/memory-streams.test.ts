import { describe, expect, it } from 'vitest'
import { MemoryIdempotency } from '../../src/broker/memory-idempotency.js'
import { MemoryStreams } from '../../src/broker/memory-streams.js'
import { publication } from '../contract/publications.js'

const HOUR_MS = 3_600_000
const STREAM = { size: 10, ttlMs: HOUR_MS, metaTtlMs: HOUR_MS }

function epochOf(streams: MemoryStreams, channel: string, metaTtlMs = HOUR_MS): string {
  const query = { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs }
  return streams.history(channel, query).position.epoch
}

function countIn(streams: MemoryStreams, channel: string): number {
  const query = { limit: 10, sinceOffset: undefined, isReverse: false, metaTtlMs: HOUR_MS }
  return streams.history(channel, query).publications.length
}

describe('streams in memory', () => {
  it('are bounded: the least recently used one is removed, and begins a new epoch', () => {
    const streams = new MemoryStreams(() => 0, 2)
    const oldest = epochOf(streams, 'a')
    const second = epochOf(streams, 'b')
    expect(epochOf(streams, 'a')).toBe(oldest)
    epochOf(streams, 'c')
    expect(epochOf(streams, 'a')).toBe(oldest)
    expect(epochOf(streams, 'b')).not.toBe(second)
    for (const channel of ['d', 'e', 'f']) streams.append(channel, publication('x'), STREAM)
    expect(countIn(streams, 'f')).toBe(1)
    expect(countIn(streams, 'd')).toBe(0)
  })

  it('keep their publications, however many channels are read', () => {
    const streams = new MemoryStreams(() => 0, 2)
    const { position } = streams.append('published', publication('x'), STREAM)
    for (let index = 0; index < 10; index++) epochOf(streams, `read-${index}`)
    expect(epochOf(streams, 'published')).toBe(position.epoch)
    expect(countIn(streams, 'published')).toBe(1)
  })

  it('expire after an hour when they were only read, and later when they have a publication', () => {
    let nowMs = 0
    const streams = new MemoryStreams(() => nowMs)
    const [published, read] = ['published', 'read'].map((channel) => epochOf(streams, channel, 24 * HOUR_MS))
    streams.append('published', publication('x'), { ...STREAM, metaTtlMs: 24 * HOUR_MS })
    nowMs = HOUR_MS
    expect(epochOf(streams, 'published')).toBe(published)
    expect(epochOf(streams, 'read')).not.toBe(read)
  })

  it('return their position without a scan of their publications', () => {
    const streams = new MemoryStreams(() => 0)
    const large = { ...STREAM, size: 50_000 }
    for (let count = 0; count < large.size; count++) streams.append('large', publication('x'), large)
    const query = { limit: 0, sinceOffset: 0, isReverse: false, metaTtlMs: HOUR_MS }
    // A scan each time would take longer than a test may.
    for (let count = 0; count < 1_000_000; count++) streams.history('large', query)
    expect(streams.history('large', query)).toMatchObject({ publications: [], position: { offset: 50_000 } })
  })

  it('make room when they expire, although they are not read', () => {
    let nowMs = 0
    const streams = new MemoryStreams(() => nowMs, 3)
    const epoch = epochOf(streams, 'least recently used')
    streams.append('brief', publication('x'), { ...STREAM, metaTtlMs: 1_000 })
    nowMs = 1_000
    for (let use = 0; use < 3; use++) epochOf(streams, 'busy')
    epochOf(streams, 'new')
    expect(epochOf(streams, 'least recently used')).toBe(epoch)
  })
})

describe('results of idempotency keys in memory', () => {
  const publishedAs = (offset: number) => () => ({ epoch: 'e', offset })

  it('are returned again for 5 minutes', () => {
    let nowMs = 0
    const results = new MemoryIdempotency(() => nowMs)
    const offset = (next: number) => results.publishOnce('room', 'key', publishedAs(next))?.offset
    expect(offset(1)).toBe(1)
    nowMs = 299_999
    expect(offset(2)).toBe(1)
    nowMs = 300_000
    expect(offset(2)).toBe(2)
  })

  it('belong to one channel and one key', () => {
    const results = new MemoryIdempotency(() => 0)
    const names = [
      ['room', 'key'],
      ['roomk', 'ey'],
      ['room","k', 'ey'],
      ['room', ''],
    ] as const
    for (const [index, [channel, key]] of names.entries()) {
      expect(results.publishOnce(channel, key, publishedAs(index))?.offset).toBe(index)
    }
  })

  it('are bounded: the oldest is removed, so that its publication counts as a new one', () => {
    const results = new MemoryIdempotency(() => 0, 2)
    for (const [index, key] of ['a', 'b', 'c'].entries()) results.publishOnce('room', key, publishedAs(index))
    expect(results.publishOnce('room', 'b', publishedAs(9))?.offset).toBe(1)
    expect(results.publishOnce('room', 'c', publishedAs(9))?.offset).toBe(2)
    expect(results.publishOnce('room', 'a', publishedAs(9))?.offset).toBe(9)
  })

  it('include those without a position', () => {
    const results = new MemoryIdempotency(() => 0)
    expect(results.publishOnce('room', 'key', () => undefined)).toBeUndefined()
    expect(results.publishOnce('room', 'key', publishedAs(1))).toBeUndefined()
  })
})
