import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../support/fanfare-process.js'
import { metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

const CHECK_INTERVAL_MS = 300
const TIMEOUT_MS = 900
/** Of the node whose clients are to stay: a busy machine may keep this process from answering for a while. */
const PATIENT_CHECK_INTERVAL_MS = 1_000
const PATIENT_TIMEOUT_MS = 6_000

describe('the heartbeat', () => {
  let impatient: FanfareProcess
  let patient: FanfareProcess
  const open = (node: FanfareProcess, path: string, autoPong: boolean) =>
    RawClient.connect(`${node.wsUrl}${path}`, { autoPong, token: 'secret' })
  const start = (checkIntervalMs: number, timeoutMs: number) =>
    FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_RAW_CHECK_INTERVAL: `${checkIntervalMs}ms`,
      FANFARE_RAW_TIMEOUT: `${timeoutMs}ms`,
    })

  beforeAll(async () => {
    impatient = await start(CHECK_INTERVAL_MS, TIMEOUT_MS)
    patient = await start(PATIENT_CHECK_INTERVAL_MS, PATIENT_TIMEOUT_MS)
  })
  afterAll(() => Promise.all([impatient.child.stop(), patient.child.stop()]))

  it.each([
    ['raw', '/ws/silent'],
    ['echo', '/echo'],
  ])('closes a silent client of the %s protocol after the timeout', async (protocol, path) => {
    const client = await open(impatient, path, false)
    const openedMs = performance.now()
    expect(await client.closed).toEqual({ code: 1001, reason: 'Heartbeat timeout' })
    const silenceMs = performance.now() - openedMs
    // Not early; how late it may be is a matter of the machine too, and is checked with a clock of its own elsewhere.
    expect(silenceMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 100)
    expect(
      metric(await impatient.metrics(), 'fanfare_heartbeat_timeouts_total', `{protocol="${protocol}"}`),
    ).toBe(1)
  })

  it('pings a client that only listens, and keeps it as long as it answers', async () => {
    const listener = await open(patient, '/ws/quiet', true)
    const openedMs = performance.now()
    const longerThanTimeout = new Promise<void>((resolve) => {
      listener.socket.on('ping', () => {
        if (performance.now() - openedMs > 1.5 * PATIENT_TIMEOUT_MS) resolve()
      })
    })
    await Promise.race([
      longerThanTimeout,
      listener.closed.then(({ code }) => {
        throw new Error(`closed with ${code}`)
      }),
    ])
    const speaker = await open(patient, '/ws/quiet', true)
    speaker.send('still there?')
    expect(await listener.nextText()).toBe('still there?')
  })

  it('takes any frame for a sign of life', async () => {
    const client = await open(patient, '/ws/chatty', false)
    const startedMs = performance.now()
    // Answers each pong with the next ping: text frames, never a protocol pong.
    while (performance.now() - startedMs < 1.5 * PATIENT_TIMEOUT_MS) {
      client.send('ping')
      expect(await client.nextText()).toBe('pong')
      await new Promise((resolve) => setTimeout(resolve, PATIENT_CHECK_INTERVAL_MS / 2))
    }
  })
})
