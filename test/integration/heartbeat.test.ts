import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

const CHECK_INTERVAL_MS = 300
const TIMEOUT_MS = 900
/** Of the node whose clients stay connected: on a busy machine this process may answer late. */
const TOLERANT_CHECK_INTERVAL_MS = 1_000
const TOLERANT_TIMEOUT_MS = 6_000

describe('the heartbeat', () => {
  let fast: FanfareProcess
  let tolerant: FanfareProcess
  const open = (node: FanfareProcess, path: string, autoPong: boolean) =>
    RawClient.connect(`${node.wsUrl}${path}`, { autoPong, token: 'secret' })
  const start = (checkIntervalMs: number, timeoutMs: number) =>
    FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_RAW_CHECK_INTERVAL: `${checkIntervalMs}ms`,
      FANFARE_RAW_TIMEOUT: `${timeoutMs}ms`,
    })

  beforeAll(async () => {
    fast = await start(CHECK_INTERVAL_MS, TIMEOUT_MS)
    tolerant = await start(TOLERANT_CHECK_INTERVAL_MS, TOLERANT_TIMEOUT_MS)
  })
  afterAll(() => Promise.all([fast.child.stop(), tolerant.child.stop()]))

  it.each([
    ['raw', '/ws/silent'],
    ['echo', '/echo'],
  ])('closes a silent client of the %s protocol after the timeout', async (protocol, path) => {
    const client = await open(fast, path, false)
    const openedMs = performance.now()
    expect(await client.closed).toEqual({ code: 1001, reason: 'Heartbeat timeout' })
    const silenceMs = performance.now() - openedMs
    // It is not early. How late it may be depends on the machine, and is tested with a clock of its own elsewhere.
    expect(silenceMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 100)
    expect(metric(await fast.metrics(), 'fanfare_heartbeat_timeouts_total', `{protocol="${protocol}"}`)).toBe(
      1,
    )
  })

  it('pings a client that sends nothing, and keeps it as long as it answers', async () => {
    const subscriber = await open(tolerant, '/ws/quiet', true)
    const openedMs = performance.now()
    const longerThanTimeout = new Promise<void>((resolve) => {
      subscriber.socket.on('ping', () => {
        if (performance.now() - openedMs > 1.5 * TOLERANT_TIMEOUT_MS) resolve()
      })
    })
    await Promise.race([
      longerThanTimeout,
      subscriber.closed.then(({ code }) => {
        throw new Error(`closed with ${code}`)
      }),
    ])
    const publisher = await open(tolerant, '/ws/quiet', true)
    publisher.send('still there?')
    expect(await subscriber.nextText()).toBe('still there?')
  })

  it('counts any frame as a sign of life', async () => {
    const client = await open(tolerant, '/ws/chatty', false)
    const startedMs = performance.now()
    // Answers each pong with the next ping: text frames, never a protocol pong.
    while (performance.now() - startedMs < 1.5 * TOLERANT_TIMEOUT_MS) {
      client.send('ping')
      expect(await client.nextText()).toBe('pong')
      await new Promise((resolve) => setTimeout(resolve, TOLERANT_CHECK_INTERVAL_MS / 2))
    }
  })
})
