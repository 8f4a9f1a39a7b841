import { describe, expect, it } from 'vitest'
import { createPlacement } from '../../src/redis/placement.js'

const CHANNELS = Array.from({ length: 10_000 }, (_, index) => `room:${index}`)

describe('the placement of channels', () => {
  it.each([2, 3, 5, 8])('gives each of %i Redis its share, within a tenth', (count) => {
    const placement = createPlacement(count)
    const sizes = Array.from({ length: count }, () => 0)
    for (const channel of CHANNELS) sizes[placement(channel)] = (sizes[placement(channel)] ?? 0) + 1
    const share = CHANNELS.length / count
    for (const size of sizes) expect(Math.abs(size - share) / share).toBeLessThan(0.1)
  })

  it('moves channels only to a Redis that is added at the end, about its share of them', () => {
    const [before, after] = [createPlacement(3), createPlacement(4)]
    const moved = CHANNELS.filter((channel) => before(channel) !== after(channel))
    expect(new Set(moved.map(after))).toEqual(new Set([3]))
    expect(moved.length / CHANNELS.length).toBeGreaterThan(0.22)
    expect(moved.length / CHANNELS.length).toBeLessThan(0.28)
  })

  it('is the same in every process', () => {
    const placement = createPlacement(4)
    expect(['', 'room', 'room:1', 'é', '😀'].map(placement)).toMatchInlineSnapshot(`
      [
        3,
        0,
        2,
        0,
        0,
      ]
    `)
  })
})
