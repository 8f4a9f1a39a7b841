import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Metrics } from '../../src/metrics/metrics.js'
import { RelayQueue } from '../../src/redis/relay-queue.js'
import { PATIENCE } from '../support/patience.js'
import { RedisServer } from '../support/redis-server.js'

const EVENT = { type: 'control', payload: Buffer.from('hello') } as const
/** After which everything that could be refused at its deadline has been. */
const PROMISE_MS = 2_000
/** The deadline, and more than it takes for a stall. */
const STALLED_MS = 1_400

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
  queue = new RelayQueue(redis, 1_000_000, new Metrics('test'))
  queue.resume('master')
})
afterEach(() => {
  queue.close()
  vi.useRealTimers()
  redis.disconnect()
})

const publish = () => queue.relay('channel', EVENT)

/** What is due is called once all of the time is over, as after a stall. */
async function stall(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms)
  await endOfIteration()
}

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) await stall(10)
}

/** The second is behind whatever the first let out. */
async function endOfIteration(): Promise<void> {
  await new Promise(setImmediate)
  await new Promise(setImmediate)
}

/** Says in the end how it went. */
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

describe('a publisher', () => {
  it('refuses in time what Redis cannot be given, whenever it came', async () => {
    queue.pause()
    const first = watch(publish())
    await pass(1_000)
    const second = watch(publish())
    await pass(PROMISE_MS - 1_000)
    expect([first.outcome, second.outcome]).toEqual(['unavailable', 'pending'])
    await pass(1_000)
    expect(second.outcome).toBe('unavailable')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('keeps no timer when it is idle', async () => {
    await publish()
    await pass(PROMISE_MS)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('forgives a stall of the process once, not for ever', async () => {
    queue.pause()
    const waiting = watch(publish())
    await stall(STALLED_MS)
    expect(waiting.outcome).toBe('pending')
    await stall(STALLED_MS)
    expect(waiting.outcome).toBe('unavailable')
  })

  it('forgives a stall after one in which nothing was overdue', async () => {
    await publish()
    await stall(STALLED_MS)
    queue.pause()
    const waiting = watch(publish())
    await stall(STALLED_MS)
    expect(waiting.outcome).toBe('pending')
    queue.resume('master')
    await vi.waitUntil(() => waiting.outcome !== 'pending', PATIENCE)
    expect(waiting.outcome).toBe('published')
  })

  it('does nothing more once it is closed, even as a deadline passes', async () => {
    queue.pause()
    const waiting = watch(publish())
    vi.advanceTimersByTime(STALLED_MS)
    queue.close()
    await endOfIteration()
    expect(waiting.outcome).toBe('unavailable')
    expect(vi.getTimerCount()).toBe(0)
  })
})
