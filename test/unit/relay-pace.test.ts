import { describe, expect, it } from 'vitest'
import { PACE_MS, RelayPace } from '../../src/redis/relay-pace.js'

/** Counts entries at a rate for a time, in channels in turn, and returns the delay of a batch right after the last one. */
function delayAfter(
  pace: RelayPace,
  entriesPerSecond: number,
  channels: number,
  ms = 500,
  startMs = 0,
): number {
  const count = (entriesPerSecond * ms) / 1_000
  for (let index = 0; index < count; index++)
    pace.count(`channel ${index % channels}`, startMs + (index * ms) / count)
  pace.batchLeft(startMs + ms)
  return pace.delayMs(startMs + ms)
}

describe('the pace of a relay queue', () => {
  it.each([
    ['few entries', 1_000, 1],
    ['entries that are all in different channels', 20_000, 20_000],
    ['many channels with few entries each', 10_000, 1_000],
  ])('lets %s wait for nothing', (_, rate, channels) => {
    expect(delayAfter(new RelayPace(), rate, channels)).toBe(0)
  })

  it('keeps batches of a busy queue apart', () => {
    const pace = new RelayPace()
    expect(delayAfter(pace, 5_000, 20)).toBe(PACE_MS)
    expect(pace.delayMs(500 + PACE_MS / 2)).toBe(PACE_MS / 2)
    expect(pace.delayMs(500 + 2 * PACE_MS)).toBe(0)
  })

  it('ends when the queue is no longer busy, and after a pause', () => {
    const pace = new RelayPace()
    delayAfter(pace, 5_000, 20)
    expect(delayAfter(pace, 100, 1, 1_000, 500)).toBe(0)
    delayAfter(pace, 5_000, 20, 500, 2_000)
    pace.count('channel', 60_000)
    pace.batchLeft(60_000)
    expect(pace.delayMs(60_000)).toBe(0)
  })
})
