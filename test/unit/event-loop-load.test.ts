import type { EventLoopUtilization, performance } from 'node:perf_hooks'
import { beforeEach, describe, expect, it } from 'vitest'
import { EventLoopLoad } from '../../src/hub/event-loop-load.js'

let nowMs: number
/** Active time since the process began. */
let activeMs: number
let load: EventLoopLoad

const read = ((since?: EventLoopUtilization) => {
  const active = activeMs - (since?.active ?? 0)
  const idle = nowMs - activeMs - (since?.idle ?? 0)
  return { active, idle, utilization: active / (active + idle) }
}) as typeof performance.eventLoopUtilization

/** Lets time pass, for a share of which the event loop is active. */
function pass(ms: number, share: number): void {
  nowMs += ms
  activeMs += ms * share
}

function isBusyAfter(ms: number, share: number): boolean {
  pass(ms, share)
  return load.isBusy(nowMs)
}

beforeEach(() => {
  nowMs = 60_000
  activeMs = 1_000
  load = new EventLoopLoad(nowMs, read)
})

describe('the load of the event loop', () => {
  it('is not high in the first half second', () => {
    expect(load.isBusy(nowMs)).toBe(false)
    expect(isBusyAfter(499, 1)).toBe(false)
  })

  it('is high when the event loop is active for 60 % of half a second', () => {
    expect(isBusyAfter(500, 0.59)).toBe(false)
    expect(isBusyAfter(500, 0.61)).toBe(true)
  })

  it('is measured over half a second at least', () => {
    expect(isBusyAfter(500, 0.1)).toBe(false)
    expect(isBusyAfter(499, 1)).toBe(false)
    expect(isBusyAfter(1, 1)).toBe(true)
  })

  it('is measured over the time since the last measurement', () => {
    expect(isBusyAfter(3_600_000, 0.1)).toBe(false)
    expect(isBusyAfter(600, 0.9)).toBe(true)
  })

  it('stays high for 10 s, whatever the load is then, and is measured anew after that', () => {
    expect(isBusyAfter(500, 0.7)).toBe(true)
    expect(isBusyAfter(9_999, 0.1)).toBe(true)
    expect(isBusyAfter(1, 0.1)).toBe(false)
    expect(isBusyAfter(500, 0.7)).toBe(true)
  })
})
