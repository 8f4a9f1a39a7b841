import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ChannelEvent } from '../../src/broker/broker.js'
import { Coalescer } from '../../src/hub/coalescer.js'
import { createLocalChannel, type LocalChannel } from '../../src/hub/local-channel.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { Tally } from '../../src/metrics/tally.js'
import { clientInfo, publication } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'

const BUSY_DELAY_MS = 20
const JOIN: ChannelEvent = { type: 'join', info: clientInfo('c', ''), online: 1 }

let isBusy: boolean
let metrics: Metrics
/** What left together, as one text. */
let deliveries: string[]
let failed: unknown[]
let coalescer: Coalescer
let channel: LocalChannel

beforeEach(() => {
  vi.useFakeTimers()
  isBusy = false
  metrics = new Metrics('test')
  deliveries = []
  failed = []
  const load = { isBusy: () => isBusy }
  const deliver = (_channel: LocalChannel, events: readonly ChannelEvent[]) => {
    deliveries.push(events.map(textOf).join(' '))
    if (deliveries.at(-1) === 'poison') throw new Error('a defect')
  }
  coalescer = new Coalescer(load, BUSY_DELAY_MS, metrics, deliver, (error) => failed.push(error))
  channel = channelWith(0)
})
afterEach(() => vi.useRealTimers())

function channelWith(deliveryDelayMs: number): LocalChannel {
  return createLocalChannel('room', new Tally({}), hubOptions({ deliveryDelayMs }).rulesOf('room'))
}

function textOf(event: ChannelEvent): string {
  return event.type === 'publication' ? Buffer.from(event.data).toString() : event.type
}

function say(...texts: string[]): void {
  coalescer.take(
    channel,
    texts.map((text) => publication(text)),
  )
}

describe('deliveries in a channel', () => {
  it('never wait while the node is not busy and the namespace asks for no delay', () => {
    say('1')
    say('2', '3')
    say('4')
    expect(deliveries).toEqual(['1', '2 3', '4'])
    expect(metrics.delayedPublications.value).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are 20 ms apart while the node is busy: what comes in between leaves together, in order', () => {
    isBusy = true
    say('1')
    vi.advanceTimersByTime(5)
    say('2')
    coalescer.take(channel, [JOIN])
    vi.advanceTimersByTime(14)
    say('3')
    expect(deliveries).toEqual(['1'])
    vi.advanceTimersByTime(1)
    expect(deliveries).toEqual(['1', '2 join 3'])
    vi.advanceTimersByTime(19)
    say('4')
    expect(deliveries).toHaveLength(2)
    vi.advanceTimersByTime(1)
    expect(deliveries).toEqual(['1', '2 join 3', '4'])
    expect(metrics.delayedPublications.value).toBe(3)
  })

  it('do not wait after a pause as long as the delay', () => {
    isBusy = true
    say('1')
    vi.advanceTimersByTime(BUSY_DELAY_MS)
    say('2')
    expect(deliveries).toEqual(['1', '2'])
  })

  it('wait where the namespace asks for it, busy or not, for the longer of both', () => {
    channel = channelWith(50)
    for (const busy of [false, true]) {
      isBusy = busy
      deliveries = []
      say('1')
      say('2')
      vi.advanceTimersByTime(49)
      expect(deliveries).toEqual(['1'])
      vi.advanceTimersByTime(1)
      expect(deliveries).toEqual(['1', '2'])
      vi.advanceTimersByTime(50)
    }
    channel = channelWith(5)
    isBusy = true
    deliveries = []
    say('1')
    say('2')
    vi.advanceTimersByTime(19)
    expect(deliveries).toEqual(['1'])
    vi.advanceTimersByTime(1)
    expect(deliveries).toEqual(['1', '2'])
  })

  it('do not wait for each other in different channels', () => {
    isBusy = true
    say('1')
    channel = channelWith(0)
    say('2')
    expect(deliveries).toEqual(['1', '2'])
  })

  it('wait for no more than what is sent at once: 32 events, or 16 KiB', () => {
    isBusy = true
    say('1')
    for (let count = 0; count < 31; count++) say('x')
    expect(deliveries).toHaveLength(1)
    say('y')
    expect(deliveries[1]).toBe(`${'x '.repeat(31)}y`)
    say('x'.repeat(16 * 1024 - 1))
    expect(deliveries).toHaveLength(2)
    say('y')
    expect(deliveries).toHaveLength(3)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are made at once when that is asked for, and not again when they are due', () => {
    isBusy = true
    say('1')
    vi.advanceTimersByTime(10)
    say('2')
    coalescer.flush(channel)
    expect(deliveries).toEqual(['1', '2'])
    coalescer.flush(channel)
    vi.advanceTimersByTime(10)
    say('3')
    expect(deliveries).toEqual(['1', '2'])
    vi.advanceTimersByTime(10)
    expect(deliveries).toEqual(['1', '2', '3'])
  })

  it('hold what was said, although its buffer is used again', () => {
    isBusy = true
    say('1')
    const said = publication('mine')
    coalescer.take(channel, [said])
    said.data.fill(0)
    vi.advanceTimersByTime(BUSY_DELAY_MS)
    expect(deliveries).toEqual(['1', 'mine'])
  })

  it('that fail when they are due are told, and others are made still', () => {
    isBusy = true
    say('1')
    say('poison')
    vi.advanceTimersByTime(BUSY_DELAY_MS)
    expect(failed).toEqual([new Error('a defect')])
    say('2')
    vi.advanceTimersByTime(BUSY_DELAY_MS)
    expect(deliveries).toEqual(['1', 'poison', '2'])
  })
})
