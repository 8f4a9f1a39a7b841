import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Broker, History, KnownPosition, PositionQuery } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { GapDetector } from '../../src/hub/gap-detector.js'
import { GapRepair } from '../../src/hub/gap-repair.js'
import { createLocalChannel, type LocalChannel } from '../../src/hub/local-channel.js'
import { LabelledValue } from '../../src/metrics/labelled-value.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { hubOptions } from '../support/hub-options.js'

const ROUND_MS = 4_500
const META_TTL_MS = 60_000

const KNOWN = { epoch: 'known', offset: 0 }

/** Counts what is asked of it. Its streams are where `tops` has them, which is at their beginning otherwise. */
class CountingBroker extends MemoryBroker {
  /** Names of the channels whose positions were read, call by call. */
  readonly calls: string[][] = []
  readonly tops = new Map<string, KnownPosition>()
  /** Reads of whole streams that are not answered yet. */
  readonly reads: { readonly channel: string; readonly answer: () => void }[] = []
  failures = 0

  get asked(): string[] {
    return this.calls.flat()
  }

  override positions(queries: readonly PositionQuery[]): ReturnType<Broker['positions']> {
    this.calls.push(queries.map(({ channel }) => channel))
    const hasFailed = this.failures-- > 0
    return Promise.resolve(
      queries.map(({ channel }) => (hasFailed ? 'unavailable' : (this.tops.get(channel) ?? KNOWN))),
    )
  }

  override history(channel: string): Promise<History> {
    const top = this.tops.get(channel) ?? KNOWN
    const position = top === 'none' ? { epoch: 'fresh', offset: 0 } : top
    return new Promise((resolve) => {
      this.reads.push({ channel, answer: () => resolve({ publications: [], position }) })
    })
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

/** Opens channels with a subscriber each, at the beginning of their streams. */
function open(count: number, metaTtlMs: number | undefined = META_TTL_MS): void {
  for (let index = 0; index < count; index++) {
    const channel = createLocalChannel(`${channels.length}`, new LabelledValue({}), rulesWith(metaTtlMs))
    channel.json.subscribers = 1
    channel.position = KNOWN
    channels.push(channel)
  }
}

describe('the gap detector', () => {
  it('checks channels at once after the relay has resumed, 100 by one call', async () => {
    open(234)
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(10)
    expect(broker.calls.map(({ length }) => length)).toEqual([100, 100, 34])
    expect(new Set(broker.asked).size).toBe(234)
  })

  it('checks all channels in every round, spread over 4 s', async () => {
    open(800)
    detector.start()
    await vi.advanceTimersByTimeAsync(ROUND_MS)
    expect(broker.calls).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(2_020)
    expect(broker.calls).toHaveLength(5)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(new Set(broker.asked).size).toBe(800)
    expect(broker.calls).toHaveLength(8)
  })

  it('checks channels that have resumed before it continues with a round', async () => {
    open(400)
    detector.start()
    await vi.advanceTimersByTimeAsync(ROUND_MS)
    detector.check(channels.slice(-1))
    await vi.advanceTimersByTimeAsync(10)
    expect(broker.calls[1]).toEqual(['399'])
  })

  it('does not check channels without a stream or without subscribers', async () => {
    channels = [createLocalChannel('empty', new LabelledValue({}), rulesWith(META_TTL_MS))]
    const unkept = createLocalChannel('unkept', new LabelledValue({}), rulesWith(undefined))
    unkept.json.subscribers = 1
    channels.push(unkept)
    detector.check(channels)
    detector.start()
    await vi.advanceTimersByTimeAsync(2 * ROUND_MS)
    expect(broker.asked).toEqual([])
  })

  it.each<[string, KnownPosition]>([
    ['is ahead', { epoch: 'known', offset: 7 }],
    ['is behind, as after a forged publication', { epoch: 'known', offset: -1 }],
    ['is another one', { epoch: 'other', offset: 0 }],
    ['is missing', 'none'],
  ])('reads a stream that %s, and no other', async (_, top) => {
    open(2)
    broker.tops.set('1', top)
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(200)
    expect(broker.reads.map(({ channel }) => channel)).toEqual(['1'])
  })

  it('takes no channel for ahead of its stream that received more while the stream was read', async () => {
    open(1)
    const { positions } = broker
    broker.positions = (queries) => {
      const answer = positions.call(broker, queries)
      for (const channel of channels) channel.position = { epoch: 'known', offset: 3 }
      return answer
    }
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(200)
    expect(broker.reads).toEqual([])
  })

  it('begins the stream of a channel that has none, so that the loss of its first publication is noticed', async () => {
    open(1)
    const [channel] = channels
    if (channel === undefined) throw new Error('no channel')
    channel.position = undefined
    broker.tops.set('0', 'none')
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(0)
    broker.reads[0]?.answer()
    await vi.advanceTimersByTimeAsync(200)
    expect(channel.position).toEqual({ epoch: 'fresh', offset: 0 })
  })

  describe('while streams are ahead that are slow to be read', () => {
    it('checks the others in every round', async () => {
      open(2)
      broker.tops.set('0', { epoch: 'known', offset: 7 })
      detector.start()
      await vi.advanceTimersByTimeAsync(3 * ROUND_MS)
      expect(broker.reads.map(({ channel }) => channel)).toEqual(['0'])
      expect(broker.asked.filter((name) => name === '1')).toHaveLength(3)
    })

    it.each<[string, KnownPosition]>([
      ['ahead', { epoch: 'known', offset: 7 }],
      ['new', { epoch: 'other', offset: 0 }],
    ])('reads at most 50 streams that are %s at once, and the others after them', async (_, top) => {
      open(123)
      for (const { name } of channels) broker.tops.set(name, top)
      detector.check(channels)
      await vi.advanceTimersByTimeAsync(5_000)
      const read = new Set(broker.reads.map(({ channel }) => channel))
      expect(read.size).toBe(50)
      for (const size of [100, 123]) {
        for (const { answer } of broker.reads.splice(0)) answer()
        await vi.advanceTimersByTimeAsync(5_000)
        for (const { channel } of broker.reads) read.add(channel)
        expect(read.size).toBe(size)
      }
    })
  })

  it('retries soon what could not be read', async () => {
    open(1)
    broker.failures = 2
    detector.check(channels)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(broker.asked).toHaveLength(3)
  })

  it('reads nothing more once it is stopped', async () => {
    open(1)
    broker.failures = 1
    detector.start()
    detector.check(channels)
    detector.stop()
    await vi.advanceTimersByTimeAsync(2 * ROUND_MS)
    expect(broker.asked).toHaveLength(1)
  })
})
