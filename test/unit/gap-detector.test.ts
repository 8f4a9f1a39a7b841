import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { History, HistoryQuery } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { GapDetector } from '../../src/hub/gap-detector.js'
import { GapRepair } from '../../src/hub/gap-repair.js'
import { createLocalChannel, type LocalChannel } from '../../src/hub/local-channel.js'
import { LabelledValue } from '../../src/metrics/labelled-value.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import { hubOptions } from '../support/hub-options.js'

const ROUND_MS = 4_500
const META_TTL_MS = 60_000

/** Counts reads, and how many there are at once. */
class CountingBroker extends MemoryBroker {
  readonly reads: string[] = []
  mostAtOnce = 0
  failures = 0
  private now = 0

  override async history(channel: string, query: HistoryQuery): Promise<History> {
    this.reads.push(channel)
    this.now++
    this.mostAtOnce = Math.max(this.mostAtOnce, this.now)
    await new Promise(setImmediate)
    this.now--
    if (this.failures-- > 0) throw new BrokerError('unavailable', 'Redis cannot be reached')
    return super.history(channel, query)
  }
}

let broker: CountingBroker
let channels: LocalChannel[]
let detector: GapDetector
let failed: unknown[]

beforeEach(() => {
  vi.useFakeTimers()
  broker = new CountingBroker()
  channels = []
  failed = []
  const deliveries = {
    isOpen: () => true,
    deliver: () => undefined,
    flush: () => undefined,
    notifyGap: () => undefined,
  }
  const repair = new GapRepair(broker, new Metrics('test'), deliveries, (error) => failed.push(error))
  detector = new GapDetector(
    () => channels.values(),
    broker,
    repair,
    (error) => failed.push(error),
  )
})
afterEach(() => {
  detector.stop()
  expect(failed).toEqual([])
  vi.useRealTimers()
})

const rulesWith = (metaTtlMs: number | undefined) => hubOptions({ metaTtlMs }).rulesOf('')

/** Opens channels with a subscriber each. */
function open(count: number, metaTtlMs: number | undefined = META_TTL_MS): void {
  for (let index = 0; index < count; index++) {
    const channel = createLocalChannel(`${channels.length}`, new LabelledValue({}), rulesWith(metaTtlMs))
    channel.json.subscribers = 1
    channels.push(channel)
  }
}

describe('the gap detector', () => {
  it('checks all channels after the relay has resumed, at most 500 at once', async () => {
    open(1_234)
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(new Set(broker.reads).size).toBe(1_234)
    expect(broker.mostAtOnce).toBeLessThanOrEqual(500)
  })

  it('checks 1,000 channels per round, and continues after them', async () => {
    open(1_500)
    for (const channel of channels) channel.position = { epoch: 'known', offset: 0 }
    const known = { publications: [], position: { epoch: 'known', offset: 0 } }
    const reads: string[] = []
    broker.history = (name) => {
      reads.push(name)
      return Promise.resolve(known)
    }
    detector.start()
    await vi.advanceTimersByTimeAsync(ROUND_MS)
    expect(reads).toHaveLength(1_000)
    await vi.advanceTimersByTimeAsync(ROUND_MS)
    expect(new Set(reads).size).toBe(1_500)
  })

  it('does not check channels without a stream or without subscribers', async () => {
    channels = [createLocalChannel('empty', new LabelledValue({}), rulesWith(META_TTL_MS))]
    const unkept = createLocalChannel('unkept', new LabelledValue({}), rulesWith(undefined))
    unkept.json.subscribers = 1
    channels.push(unkept)
    detector.check(channels)
    detector.start()
    await vi.advanceTimersByTimeAsync(2 * ROUND_MS)
    expect(broker.reads).toEqual([])
  })

  describe('while streams are ahead that are slow to be read', () => {
    const repairs = new Set<string>()
    let answers: (() => void)[]
    let checks: string[]
    let isAhead: (name: string) => boolean

    beforeEach(() => {
      repairs.clear()
      checks = []
      answers = []
      broker.history = (name, { limit }) => {
        const history = { publications: [], position: { epoch: 'known', offset: isAhead(name) ? 7 : 0 } }
        if (limit === 0) {
          checks.push(name)
          return Promise.resolve(history)
        }
        repairs.add(name)
        return new Promise((resolve) => answers.push(() => resolve(history)))
      }
    })

    function openAtStart(count: number): void {
      open(count)
      for (const channel of channels) channel.position = { epoch: 'known', offset: 0 }
    }

    it('checks the others in every round', async () => {
      openAtStart(2)
      isAhead = (name) => name === '0'
      detector.start()
      await vi.advanceTimersByTimeAsync(3 * ROUND_MS)
      expect([...repairs]).toEqual(['0'])
      expect(checks.filter((name) => name === '1')).toHaveLength(3)
    })

    it('reads at most 500 of them at once, and the others after them', async () => {
      openAtStart(1_234)
      isAhead = () => true
      detector.check(channels)
      await vi.advanceTimersByTimeAsync(5_000)
      expect(repairs.size).toBe(500)
      for (const size of [1_000, 1_234]) {
        for (const answer of answers.splice(0)) answer()
        await vi.advanceTimersByTimeAsync(5_000)
        expect(repairs.size).toBe(size)
      }
    })
  })

  it('retries soon when a check fails', async () => {
    open(1)
    broker.failures = 2
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(broker.reads).toHaveLength(3)
  })

  it('reads nothing more once it is stopped', async () => {
    open(1)
    broker.failures = 1
    detector.start()
    detector.check(channels)
    detector.stop()
    await vi.advanceTimersByTimeAsync(2 * ROUND_MS)
    expect(broker.reads).toHaveLength(1)
  })
})
