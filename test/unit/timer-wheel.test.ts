import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type TimerHandler, TimerWheel } from '../../src/connection/timer-wheel.js'

/** Records the wheel's time at each call, and returns the next of its delays. */
class Alarm implements TimerHandler {
  readonly callsMs: number[] = []

  constructor(private readonly delaysMs: (number | undefined)[] = []) {}

  onTimer(nowMs: number): number | undefined {
    this.callsMs.push(nowMs)
    return this.delaysMs.shift()
  }
}

const TICK_MS = 100

let clockMs: number
let wheel: TimerWheel

beforeEach(() => {
  clockMs = 5_000
  wheel = new TimerWheel(() => clockMs, TICK_MS)
})

/** Advances the clock in steps, with a tick of the wheel after each. */
function pass(durationMs: number, stepMs = TICK_MS): void {
  for (let passedMs = 0; passedMs < durationMs; passedMs += stepMs) {
    clockMs += Math.min(stepMs, durationMs - passedMs)
    wheel.tick()
  }
}

describe('a timer wheel', () => {
  it('measures the time since its creation', () => {
    pass(12_345)
    expect(wheel.nowMs).toBe(12_345)
  })

  it.each([0, 1, 99, 100, 101, 250, 1_000, 29_950, 59_900])(
    'calls a handler that is due in %i ms at most a tick late',
    (delayMs) => {
      const alarm = new Alarm()
      wheel.schedule(alarm, delayMs)
      pass(60_000)
      expect(alarm.callsMs).toHaveLength(1)
      expect(alarm.callsMs[0]).toBeGreaterThanOrEqual(delayMs)
      expect(alarm.callsMs[0]).toBeLessThanOrEqual(delayMs + TICK_MS)
    },
  )

  it('never calls early, and at most a tick late besides the lateness of its own ticks', () => {
    for (const offsetMs of [1, 37, 99]) {
      pass(offsetMs)
      const startMs = wheel.nowMs
      const alarm = new Alarm()
      wheel.schedule(alarm, 1_000)
      pass(2_000, 70)
      expect(alarm.callsMs).toHaveLength(1)
      expect((alarm.callsMs[0] ?? 0) - startMs).toBeGreaterThanOrEqual(1_000)
      expect((alarm.callsMs[0] ?? 0) - startMs).toBeLessThanOrEqual(1_000 + TICK_MS + 70)
    }
  })

  it('calls after a minute at most, so that a handler has to ask again for a longer delay', () => {
    const alarm = new Alarm([60_000, undefined])
    wheel.schedule(alarm, 90_000)
    pass(59_800)
    expect(alarm.callsMs).toEqual([])
    pass(200)
    expect(alarm.callsMs).toHaveLength(1)
    pass(120_000)
    expect(alarm.callsMs).toHaveLength(2)
  })

  it('calls again after the delay that a handler returns, and not again after undefined', () => {
    const alarm = new Alarm([1_000, 500, undefined])
    wheel.schedule(alarm, 200)
    pass(10_000)
    expect(alarm.callsMs).toEqual([200, 1_200, 1_700])
  })

  it('calls again in the next tick when a handler returns 0', () => {
    const alarm = new Alarm([0, 0, undefined])
    wheel.schedule(alarm, 100)
    pass(1_000)
    expect(alarm.callsMs).toEqual([100, 200, 300])
  })

  it('does not call a cancelled handler', () => {
    const alarm = new Alarm()
    wheel.schedule(alarm, 300)
    pass(200)
    wheel.cancel(alarm)
    wheel.cancel(alarm)
    pass(70_000)
    expect(alarm.callsMs).toEqual([])
  })

  it('calls a handler that is scheduled again once, at the later time', () => {
    const alarm = new Alarm()
    wheel.schedule(alarm, 300)
    pass(200)
    wheel.schedule(alarm, 300)
    pass(70_000)
    expect(alarm.callsMs).toEqual([500])
  })

  it('calls handlers that are due together in the order in which they were scheduled', () => {
    const order: number[] = []
    for (let index = 0; index < 1_000; index++) {
      wheel.schedule({ onTimer: () => void order.push(index) }, 300)
    }
    pass(300)
    expect(order).toEqual(Array.from({ length: 1_000 }, (_, index) => index))
  })

  it('does not call a handler that another one cancels in the same tick', () => {
    const second = new Alarm()
    wheel.schedule({ onTimer: () => void wheel.cancel(second) }, 300)
    wheel.schedule(second, 300)
    pass(1_000)
    expect(second.callsMs).toEqual([])
  })

  it('calls a handler that another one schedules while it is called', () => {
    const second = new Alarm()
    const first: TimerHandler = { onTimer: () => void wheel.schedule(second, 100) }
    wheel.schedule(first, 100)
    pass(1_000)
    expect(second.callsMs).toEqual([200])
  })

  it('does not count the time for which the process stalled', () => {
    const alarm = new Alarm()
    wheel.schedule(alarm, 30_000)
    pass(10_000)
    clockMs += 25_000
    wheel.tick()
    expect(wheel.nowMs).toBe(11_000)
    expect(alarm.callsMs).toEqual([])
    pass(18_900)
    expect(alarm.callsMs).toEqual([])
    pass(100)
    expect(alarm.callsMs).toEqual([30_000])
  })

  it('calls every due handler after a short pause', () => {
    const alarms = [100, 200, 300, 900].map((delayMs) => {
      const alarm = new Alarm()
      wheel.schedule(alarm, delayMs)
      return alarm
    })
    clockMs += 950
    wheel.tick()
    expect(alarms.map(({ callsMs }) => callsMs.length)).toEqual([1, 1, 1, 1])
  })
})

describe.each([20, 1_000])('a timer wheel that ticks every %i ms', (tickMs) => {
  beforeEach(() => {
    wheel = new TimerWheel(() => clockMs, tickMs)
  })

  it.each([1, 999, 1_000, 5_001, 10_000])(
    'calls a handler that is due in %i ms at most a tick late',
    (delayMs) => {
      const alarm = new Alarm()
      wheel.schedule(alarm, delayMs)
      pass(20_000, tickMs)
      expect(alarm.callsMs).toHaveLength(1)
      expect(alarm.callsMs[0]).toBeGreaterThanOrEqual(delayMs)
      expect(alarm.callsMs[0]).toBeLessThanOrEqual(delayMs + tickMs)
    },
  )

  it('waits for at most 599 ticks', () => {
    const alarm = new Alarm()
    wheel.schedule(alarm, 10_000_000)
    pass(598 * tickMs, tickMs)
    expect(alarm.callsMs).toEqual([])
    pass(tickMs, tickMs)
    expect(alarm.callsMs).toHaveLength(1)
  })

  it('does not count the time for which the process stalled', () => {
    clockMs += 60_000
    wheel.tick()
    expect(wheel.nowMs).toBe(Math.max(1_000, 2 * tickMs))
  })

  it('has an upper bound of its time, which is valid until the next tick', () => {
    pass(5_000, tickMs)
    const startMs = clockMs - wheel.nowMs
    for (let sinceTickMs = 0; sinceTickMs <= tickMs; sinceTickMs++) {
      expect(wheel.upperNowMs).toBeGreaterThanOrEqual(clockMs + sinceTickMs - startMs)
    }
  })
})

it('a timer wheel reports with every tick how late it is', () => {
  const lateMs: number[] = []
  const watched = new TimerWheel(
    () => clockMs,
    TICK_MS,
    (late) => lateMs.push(late),
  )
  for (const passedMs of [TICK_MS, TICK_MS + 40, TICK_MS - 1, 5 * TICK_MS]) {
    clockMs += passedMs
    watched.tick()
  }
  expect(lateMs).toEqual([0, 40, 0, 4 * TICK_MS])
})

describe('a timer wheel that is started', () => {
  afterEach(() => vi.useRealTimers())

  it('ticks by itself until it is stopped', () => {
    vi.useFakeTimers()
    const running = new TimerWheel(() => Date.now())
    vi.advanceTimersByTime(5_000)
    const alarm = new Alarm([1_000, 1_000, 1_000, 1_000])
    running.start()
    running.schedule(alarm, 1_000)
    vi.advanceTimersByTime(2_500)
    expect(alarm.callsMs).toEqual([1_000, 2_000])
    running.stop()
    vi.advanceTimersByTime(10_000)
    expect(alarm.callsMs).toHaveLength(2)
    expect(vi.getTimerCount()).toBe(0)
  })
})
