import { describe, expect, it } from 'vitest'
import { type Round, reportRelay } from '../../load/relay/report.js'

const OPTIONS = { rate: 1_000, nodes: 4, channels: ['a', 'b'] }

function rounds(...redisUs: number[]): Round[] {
  return redisUs.map((us) => ({ redisUs: us, nodesUs: 10, packed: 2, rate: 1_000, isComplete: true }))
}

describe('the report of a load run that measures the relay', () => {
  it('compares the rounds that belong together, and asks for a third at most', () => {
    const met = reportRelay({ fanfare: rounds(1, 3, 2), ioredis: rounds(4, 9, 6) }, OPTIONS)
    expect(met.requirements[0]).toMatchObject({
      text: 'CPU of Redis a publication 0.33 × that of one PUBLISH, at most 0.33',
      isMet: true,
    })
    expect(met.text).toMatch(/^Fanfare +2\.00 +1\.00 .*\nPUBLISH by ioredis +6\.00 +4\.00 /m)
    const missed = reportRelay({ fanfare: rounds(2, 2, 2), ioredis: rounds(9, 4, 5) }, OPTIONS)
    expect(missed.requirements.map(({ isMet }) => isMet)).toEqual([false, true, true])
  })

  it('asks that every publication arrives, also of a smoke run', () => {
    const [incomplete] = rounds(9)
    if (incomplete === undefined) throw new Error('no round')
    const all = { fanfare: rounds(1, 1), ioredis: [...rounds(9), { ...incomplete, isComplete: false }] }
    const { requirements } = reportRelay(all, OPTIONS)
    expect(requirements.map(({ isMet, appliesToSmoke }) => [isMet, appliesToSmoke])).toEqual([
      [true, false],
      [true, true],
      [false, true],
    ])
  })

  it('says which rate the machine held where it is less than what was asked for', () => {
    const [slow] = rounds(9)
    if (slow === undefined) throw new Error('no round')
    const all = { fanfare: rounds(1, 1), ioredis: [...rounds(9), { ...slow, rate: 970 }] }
    const { text } = reportRelay(all, OPTIONS)
    expect(text.split('\n').at(-1)).toBe(
      'note  this machine held 970 publications/s of 1000 with PUBLISH by ioredis',
    )
    expect(reportRelay({ fanfare: rounds(1), ioredis: rounds(9) }, OPTIONS).text).not.toContain('note')
  })
})
