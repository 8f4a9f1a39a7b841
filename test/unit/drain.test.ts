import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Connections } from '../../src/connection/connections.js'
import { closeConnections, drainDurationMs, MIN_CLOSES_PER_SECOND } from '../../src/node/drain.js'
import { stubConnection } from '../support/stub-connection.js'

// Vitest's fake timers do not cover the promises of node:timers.
vi.mock('node:timers/promises', () => ({
  setTimeout: (delayMs: number, value?: unknown) =>
    new Promise((resolve) => {
      setTimeout(() => resolve(value), delayMs)
    }),
}))

const STEP_MS = 50

interface Closed {
  readonly client: string
  readonly atMs: number
}

let connections: Connections
let closed: Closed[]

beforeEach(() => {
  vi.useFakeTimers()
  connections = new Connections()
  closed = []
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

function connect(count: number, prefix = 'client'): void {
  const startMs = Date.now()
  for (let index = 0; index < count; index++) {
    const connection = stubConnection({
      client: `${prefix}-${index}`,
      shutDown: () => {
        connections.remove(connection)
        closed.push({ client: connection.client, atMs: Date.now() - startMs })
      },
    })
    connections.add(connection)
  }
}

async function drained(windowMs: number): Promise<number> {
  const startMs = Date.now()
  const done = closeConnections(connections, windowMs).then(() => Date.now() - startMs)
  await vi.runAllTimersAsync()
  return done
}

describe('the duration of a drain', () => {
  it.each([
    [0, 20_000, 0],
    [1, 20_000, 10],
    [100, 20_000, 1_000],
    [2_000, 20_000, 20_000],
    [100_000, 20_000, 20_000],
    [100_000, 0, 0],
  ])('for %i connections in a window of %i ms is %i ms', (connections, windowMs, durationMs) => {
    expect(drainDurationMs(connections, windowMs)).toBe(durationMs)
  })

  it('is never longer than the window, nor slower than 100 closes a second', () => {
    expect(MIN_CLOSES_PER_SECOND).toBe(100)
    for (let connections = 0; connections < 5_000; connections += 7) {
      const durationMs = drainDurationMs(connections, 20_000)
      expect(durationMs).toBeLessThanOrEqual(20_000)
      expect(durationMs).toBeLessThanOrEqual(connections * 10)
    }
  })
})

describe('a drain', () => {
  it('shuts down every connection once', async () => {
    connect(300)
    await drained(20_000)
    expect(connections.count).toBe(0)
    expect(new Set(closed.map(({ client }) => client)).size).toBe(300)
    expect(closed).toHaveLength(300)
  })

  it('ends at once without connections, and with a few', async () => {
    expect(await drained(20_000)).toBe(0)
    connect(5)
    expect(await drained(20_000)).toBe(0)
    expect(closed).toHaveLength(5)
  })

  it('ends at once with a window of 0', async () => {
    connect(1_000)
    expect(await drained(0)).toBe(0)
    expect(closed).toHaveLength(1_000)
  })

  it('is short for few connections', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    connect(100)
    expect(await drained(20_000)).toBeLessThanOrEqual(1_000)
  })

  it('is spread evenly over the window for many connections', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    connect(10_000)
    const durationMs = await drained(20_000)
    expect(durationMs).toBeGreaterThan(19_000)
    expect(durationMs).toBeLessThanOrEqual(20_000)
    const seconds = Array.from(
      { length: 20 },
      (_, second) => closed.filter(({ atMs }) => Math.floor(atMs / 1_000) === second).length,
    )
    for (const closes of seconds) expect(Math.abs(closes - 500)).toBeLessThanOrEqual(25)
  })

  it('closes in random order, in steps of random length', async () => {
    connect(1_000)
    const before = [...connections].map(({ client }) => client)
    await drained(5_000)
    expect(closed.map(({ client }) => client)).not.toEqual(before)
    const times = [...new Set(closed.map(({ atMs }) => atMs))]
    const gapsMs = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0))
    expect(new Set(gapsMs).size).toBeGreaterThan(5)
    for (const gapMs of gapsMs) {
      expect(gapMs).toBeGreaterThanOrEqual(STEP_MS / 2)
      expect(gapMs).toBeLessThanOrEqual(STEP_MS * 1.5)
    }
  })

  it('also closes connections whose handshake ends meanwhile', async () => {
    connect(200, 'early')
    setTimeout(() => connect(50, 'late'), 1_000)
    await drained(20_000)
    expect(connections.count).toBe(0)
    expect(closed.filter(({ client }) => client.startsWith('late'))).toHaveLength(50)
  })

  it('continues when clients disconnect by themselves', async () => {
    connect(500)
    setTimeout(() => {
      for (const connection of [...connections].slice(0, 100)) connections.remove(connection)
    }, 500)
    await drained(20_000)
    expect(connections.count).toBe(0)
  })
})
