import { beforeEach, describe, expect, it } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { Namespaces } from '../../src/channel/namespaces.js'
import { ConnectionSlots } from '../../src/connection/connection-slots.js'
import { Connections } from '../../src/connection/connections.js'
import { TimerWheel } from '../../src/connection/timer-wheel.js'
import { Channels } from '../../src/hub/channels.js'
import { Hub } from '../../src/hub/hub.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { PresenceAnnouncer } from '../../src/presence/presence-announcer.js'
import type { Close } from '../../src/protocol/closes.js'
import { RawSession, type RawSessionContext } from '../../src/session/raw-session.js'
import { hubOptions } from '../support/hub-options.js'
import { stubSocket } from '../support/stub-socket.js'

const TICK_MS = 1_000

let clockMs: number
let context: RawSessionContext

function contextWith(checkIntervalMs: number, timeoutMs: number, tickMs: number): RawSessionContext {
  const log = createLogger({ level: 'silent', format: 'json' })
  const metrics = new Metrics('test')
  const broker = new MemoryBroker()
  const store = new MemoryPresenceStore()
  const connections = new Connections()
  const hub = new Hub({ connections, broker, broadcastToTopic: () => undefined, metrics, ...hubOptions() })
  return {
    connections,
    hub,
    slots: new ConnectionSlots(10),
    channels: new Channels({
      namespaces: new Namespaces(undefined),
      broker,
      presenceStore: store,
      maxHistoryPublications: 100,
      metrics,
      log,
    }),
    presenceAnnouncer: new PresenceAnnouncer(store, broker, log, 4),
    wheel: new TimerWheel(() => clockMs, tickMs),
    metrics,
    log,
    maxMessageBytes: 100,
    heartbeat: { checkIntervalMs, timeoutMs },
  }
}

/** The client of a session: records when it is pinged and closed. */
class Client {
  readonly session: RawSession
  readonly pingsMs: number[] = []
  readonly closes: { readonly atMs: number; readonly close: Close }[] = []

  constructor(private readonly answersPings: boolean) {
    this.session = new RawSession(context, { user: 'ann', info: undefined }, undefined)
    const startMs = clockMs
    const socket = stubSocket({
      ping: () => {
        this.pingsMs.push(clockMs - startMs)
        if (this.answersPings) this.session.markAlive()
      },
      close: (close) => {
        this.closes.push({ atMs: clockMs - startMs, close })
        this.session.closed(close.code, close.reason)
      },
    })
    this.session.opened(socket)
  }
}

function pass(durationMs: number, stepMs = TICK_MS): void {
  for (let passedMs = 0; passedMs < durationMs; passedMs += stepMs) {
    clockMs += stepMs
    context.wheel.tick()
  }
}

beforeEach(() => {
  clockMs = 0
  context = contextWith(10_000, 30_000, TICK_MS)
})

describe('a connection', () => {
  it('that is silent is pinged in time for an answer, and closed with 1001 Heartbeat timeout', async () => {
    const client = new Client(false)
    pass(29_000)
    expect(client.pingsMs).toEqual([20_000])
    expect(client.closes).toEqual([])
    pass(11_000)
    expect(client.closes).toHaveLength(1)
    expect(client.closes[0]?.close).toEqual({ code: 1001, reason: 'Heartbeat timeout' })
    expect(client.closes[0]?.atMs).toBeGreaterThanOrEqual(30_000)
    expect(client.closes[0]?.atMs).toBeLessThanOrEqual(40_000)
    const { values } = await context.metrics.heartbeatTimeouts.get()
    expect(values).toEqual([{ labels: { protocol: 'echo' }, value: 1 }])
  })

  it('that only answers pings stays open', () => {
    const client = new Client(true)
    pass(600_000)
    expect(client.closes).toEqual([])
    expect(client.pingsMs.length).toBeGreaterThan(15)
  })

  it.each([
    [30_000, 30_000],
    [29_000, 30_000],
    [10_000, 10_000],
  ])(
    'has half the timeout to answer, when it is checked every %d ms with a timeout of %d ms',
    (checkMs, timeoutMs) => {
      context = contextWith(checkMs, timeoutMs, TICK_MS)
      const client = new Client(false)
      let answered = 0
      for (let passedMs = 0; passedMs < 10 * timeoutMs; passedMs += TICK_MS) {
        pass(TICK_MS)
        const sinceMs = passedMs - (client.pingsMs.at(-1) ?? Number.POSITIVE_INFINITY)
        if (client.pingsMs.length > answered && sinceMs > timeoutMs / 3) {
          client.session.markAlive()
          answered = client.pingsMs.length
        }
      }
      expect(client.closes).toEqual([])
      expect(answered).toBeGreaterThan(5)
    },
  )

  it('with an expiry is closed with 3005 when it has expired, to the tick, unless the expiry is changed', () => {
    const [closed, refreshed, endless] = [new Client(true), new Client(true), new Client(true)]
    for (const { session } of [closed, refreshed, endless]) session.refresh(Date.now() + 45_000)
    pass(40_000)
    refreshed.session.refresh(Date.now() + 100_000)
    endless.session.refresh(undefined)
    pass(600_000)
    expect(closed.closes).toEqual([
      { atMs: expect.any(Number), close: { code: 3005, reason: 'connection expired' } },
    ])
    expect(closed.closes[0]?.atMs).toBeGreaterThanOrEqual(45_000)
    expect(closed.closes[0]?.atMs).toBeLessThanOrEqual(45_000 + 3 * TICK_MS)
    expect(refreshed.closes[0]?.atMs).toBeGreaterThanOrEqual(140_000)
    expect(endless.closes).toEqual([])
  })

  it('that has expired already is closed with 3005 at once', () => {
    const client = new Client(true)
    client.session.refresh(Date.now() - 1)
    expect(client.closes[0]?.close.code).toBe(3005)
  })

  it('that sends now and then is not pinged at all', () => {
    const client = new Client(false)
    for (let turn = 0; turn < 20; turn++) {
      pass(8_000)
      client.session.message(Buffer.from('hello'), false)
    }
    expect(client.pingsMs).toEqual([])
    expect(client.closes).toEqual([])
  })

  it('that falls silent is closed a timeout after its last message', () => {
    const client = new Client(false)
    pass(25_000)
    client.session.message(Buffer.from('last'), false)
    pass(29_000)
    expect(client.closes).toEqual([])
    pass(11_000)
    expect(client.closes.map(({ close }) => close.reason)).toEqual(['Heartbeat timeout'])
  })

  it('is not closed for a silence for which the process stalled', () => {
    const client = new Client(false)
    pass(15_000)
    clockMs += 120_000
    context.wheel.tick()
    expect(client.closes).toEqual([])
  })

  it('that is closed is not checked any more', () => {
    const client = new Client(false)
    pass(5_000)
    client.session.closed(1006, '')
    pass(120_000)
    expect(client.pingsMs).toEqual([])
    expect(client.closes).toEqual([])
    expect(context.connections.count).toBe(0)
  })

  it.each([
    [100, 1_000, 20],
    [1_000, 1_500, 100],
    [700, 30_000, 70],
    [20_000, 30_000, 1_000],
    [50_000, 120_000, 1_000],
    [120_000, 300_000, 1_000],
  ])(
    'that is checked every %i ms is closed after %i ms, at most a check late, and stays open if it answers',
    (checkIntervalMs, timeoutMs, tickMs) => {
      context = contextWith(checkIntervalMs, timeoutMs, tickMs)
      const [silent, listening] = [new Client(false), new Client(true)]
      pass(10 * timeoutMs, tickMs)
      expect(silent.closes).toHaveLength(1)
      expect(silent.closes[0]?.atMs).toBeGreaterThanOrEqual(timeoutMs)
      expect(silent.closes[0]?.atMs).toBeLessThanOrEqual(timeoutMs + checkIntervalMs)
      expect(listening.closes).toEqual([])
    },
  )

  it('that sends a message just before a tick is not closed early', () => {
    const client = new Client(false)
    pass(10_000)
    clockMs += TICK_MS - 1
    client.session.message(Buffer.from('last'), false)
    const sentAtMs = clockMs
    clockMs += 1
    context.wheel.tick()
    pass(60_000)
    expect((client.closes[0]?.atMs ?? 0) - sentAtMs).toBeGreaterThanOrEqual(30_000)
  })
})

describe('a message', () => {
  it('of the largest size is accepted, and one byte more closes the connection with 1009 and a reason', () => {
    const client = new Client(false)
    client.session.message(Buffer.alloc(100), true)
    expect(client.closes).toEqual([])
    client.session.message(Buffer.alloc(101), true)
    expect(client.closes.map(({ close }) => close)).toEqual([
      { code: 1009, reason: 'Message too big: 101 bytes, the limit is 100' },
    ])
  })
})
