import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { ByteBudget } from '../../src/redis/byte-budget.js'
import { RelayQueue } from '../../src/redis/relay-queue.js'
import { POLL_OPTIONS } from '../support/poll-options.js'

const MASTER = { era: 'era', replicationId: '' }
const EVENT = { type: 'control', payload: Buffer.from('hello') } as const
/** By then, a publication that has to be refused at its deadline has been. */
const DEADLINE_MS = 2_000
/** Beyond the deadline of a publication, and longer than the delay of a timer that counts as a stall. */
const STALLED_MS = 1_750

let server: RedisServer
let redis: Redis
let queue: RelayQueue

beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.remove())

beforeEach(async () => {
  redis = new Redis(server.url, { lazyConnect: true })
  await redis.connect()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  queue = new RelayQueue({
    redis,
    budget: new ByteBudget(1_000_000, () => undefined),
    isSharded: false,
    metrics: new Metrics('test'),
    onOtherServer: () => undefined,
    onRedirected: () => undefined,
    onOutcome: () => undefined,
  })
  queue.resume(MASTER)
})
afterEach(() => {
  queue.close()
  vi.useRealTimers()
  redis.disconnect()
})

const publish = () => queue.relay('channel', EVENT)

/** Calls the timers that are due only after all of the time has passed, as after a stall. */
async function stall(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms)
  await endOfIteration()
}

async function advance(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) await stall(10)
}

/** The second iteration runs after the callbacks that the first has scheduled. */
async function endOfIteration(): Promise<void> {
  await new Promise(setImmediate)
  await new Promise(setImmediate)
}

/** Records the outcome of a publication. */
function watch(published: Promise<unknown>): { outcome: string } {
  const watched = { outcome: 'pending' }
  published.then(
    () => {
      watched.outcome = 'published'
    },
    (error: { reason: string }) => {
      watched.outcome = error.reason
    },
  )
  return watched
}

describe('a relay queue', () => {
  it('refuses each publication that cannot be sent to Redis at its own deadline', async () => {
    queue.pause()
    const first = watch(publish())
    await advance(1_000)
    const second = watch(publish())
    await advance(DEADLINE_MS - 1_000)
    expect([first.outcome, second.outcome]).toEqual(['unavailable', 'pending'])
    await advance(1_000)
    expect(second.outcome).toBe('unavailable')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('has no timer while it is idle', async () => {
    await publish()
    await advance(DEADLINE_MS)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('tolerates one stall of the process, and not a second one', async () => {
    queue.pause()
    const waiting = watch(publish())
    await stall(STALLED_MS)
    expect(waiting.outcome).toBe('pending')
    await stall(STALLED_MS)
    expect(waiting.outcome).toBe('unavailable')
  })

  it('tolerates a stall after one in which nothing was overdue', async () => {
    await publish()
    await stall(STALLED_MS)
    queue.pause()
    const waiting = watch(publish())
    await stall(STALLED_MS)
    expect(waiting.outcome).toBe('pending')
    queue.resume(MASTER)
    await vi.waitUntil(() => waiting.outcome !== 'pending', POLL_OPTIONS)
    expect(waiting.outcome).toBe('published')
  })

  it('refuses the queued publications when it is closed, and sets no timer after it, even as a deadline passes', async () => {
    queue.pause()
    const waiting = watch(publish())
    vi.advanceTimersByTime(STALLED_MS)
    queue.close()
    await endOfIteration()
    expect(waiting.outcome).toBe('unavailable')
    expect(vi.getTimerCount()).toBe(0)
  })
})
