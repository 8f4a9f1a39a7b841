import { Registry } from 'prom-client'
import { beforeEach, expect, it } from 'vitest'
import { EventLoopLag } from '../../src/metrics/event-loop-lag.js'

/** Time between two ticks of the timer. */
const TICK_MS = 200

let clockMs: number
let registry: Registry
let lag: EventLoopLag

beforeEach(() => {
  clockMs = 1_000
  registry = new Registry()
  lag = new EventLoopLag(registry, () => clockMs)
})

function pass(ticks: number, lateMs = 0): void {
  for (let tick = 0; tick < ticks; tick++) {
    clockMs += TICK_MS + lateMs
    lag.observe(lateMs)
  }
}

async function secondsOf(name: string): Promise<number | undefined> {
  const metrics = await registry.getMetricsAsJSON()
  return metrics.find((metric) => metric.name === `nodejs_eventloop_lag_${name}_seconds`)?.values[0]?.value
}

it('the event loop lag is 0 before the first observation', async () => {
  for (const name of ['p50', 'p90', 'p99', 'max']) expect(await secondsOf(name)).toBe(0)
})

it('the event loop lag is the lateness of timers, without the time between them', async () => {
  pass(97)
  pass(1, 40)
  pass(2, 250)
  expect(await secondsOf('p50')).toBeLessThan(0.001)
  expect(await secondsOf('p99')).toBeCloseTo(0.25, 2)
  expect(await secondsOf('max')).toBeCloseTo(0.25, 2)
})

it('the event loop lag covers the last 30 seconds at least and 60 at most, however often it is read', async () => {
  pass(1, 300)
  pass(145)
  expect(await secondsOf('max')).toBeCloseTo(0.3, 2)
  expect(await secondsOf('max')).toBeCloseTo(0.3, 2)
  pass(153)
  expect(await secondsOf('max')).toBeLessThan(0.001)
})
