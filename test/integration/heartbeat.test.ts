import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../support/fanfare-process.js'
import { metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

const CHECK_INTERVAL_MS = 300
const TIMEOUT_MS = 900

describe('the heartbeat', () => {
  let node: FanfareProcess
  const open = (path: string, autoPong: boolean) =>
    RawClient.connect(`${node.wsUrl}${path}`, { autoPong, token: 'secret' })

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_RAW_CHECK_INTERVAL: `${CHECK_INTERVAL_MS}ms`,
      FANFARE_RAW_TIMEOUT: `${TIMEOUT_MS}ms`,
    })
  })
  afterAll(() => node.child.stop())

  it.each([
    ['raw', '/ws/silent'],
    ['echo', '/echo'],
  ])('closes a silent client of the %s protocol after the timeout', async (protocol, path) => {
    const client = await open(path, false)
    const openedMs = performance.now()
    expect(await client.closed).toEqual({ code: 1001, reason: 'Heartbeat timeout' })
    const silenceMs = performance.now() - openedMs
    // Not early; how late it may be is a matter of the machine too, and is checked with a clock of its own elsewhere.
    expect(silenceMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 100)
    expect(metric(await node.metrics(), 'fanfare_heartbeat_timeouts_total', `{protocol="${protocol}"}`)).toBe(
      1,
    )
  })

  it('pings a client that only listens, and keeps it as long as it answers', async () => {
    const listener = await open('/ws/quiet', true)
    let pings = 0
    const severalTimeouts = new Promise<void>((resolve) => {
      listener.socket.on('ping', () => {
        pings++
        if (pings === 5) resolve()
      })
    })
    await Promise.race([
      severalTimeouts,
      listener.closed.then(({ code }) => {
        throw new Error(`closed with ${code}`)
      }),
    ])
    const speaker = await open('/ws/quiet', true)
    speaker.send('still there?')
    expect(await listener.nextText()).toBe('still there?')
  })

  it('takes any frame for a sign of life', async () => {
    const client = await open('/ws/chatty', false)
    const startedMs = performance.now()
    // Answers each pong with the next ping: text frames, never a protocol pong.
    while (performance.now() - startedMs < 3 * TIMEOUT_MS) {
      client.send('ping')
      expect(await client.nextText()).toBe('pong')
      await new Promise((resolve) => setTimeout(resolve, CHECK_INTERVAL_MS / 2))
    }
  })
})
