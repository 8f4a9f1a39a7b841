import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

/** Subscriptions that a connection may have by default. */
const MAX_CHANNELS = 128
const PAIRS_IN_FRAME = 500
const DRAIN_WINDOW_MS = 1_000
/** How much longer than its window a drain may take, as documented. */
const DRAIN_GRACE_MS = 10_000

let redis: RedisServer
let node: FanfareProcess

beforeEach(async () => {
  redis = await RedisServer.start()
  node = await FanfareProcess.start({
    FANFARE_REDIS_URL: redis.url,
    FANFARE_AUTH_ANONYMOUS: 'true',
    FANFARE_DRAIN_WINDOW: `${DRAIN_WINDOW_MS}ms`,
  })
})
afterEach(async () => {
  await node.child.stop('SIGKILL')
  await redis.remove()
})

/** Connects a client without subscriptions. The node has subscribed to the channels and has no pending changes. */
async function connected(channels: readonly string[]): Promise<RawClient> {
  const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
  client.send('{"id":1,"connect":{}}')
  await client.nextText()
  client.send(pairs(channels, 0).join('\n'))
  await answers(client, 2 * channels.length)
  await eventually(async () => (await pending()) === 0, 'no presence change is pending')
  return client
}

/** Commands that subscribe to and unsubscribe from each of the channels. */
function pairs(channels: readonly string[], firstId: number): string[] {
  return channels.flatMap((channel, index) => [
    `{"id":${firstId + 2 * index + 2},"subscribe":{"channel":"${channel}"}}`,
    `{"id":${firstId + 2 * index + 3},"unsubscribe":{"channel":"${channel}"}}`,
  ])
}

/** Waits for `count` answers. Rejects with an answer that is an error. */
async function answers(client: RawClient, count: number): Promise<void> {
  for (let left = count; left > 0; ) {
    const lines = (await client.nextText()).split('\n')
    for (const line of lines) {
      if (line === '{}') client.send('{}')
      else if (line.includes('"error"')) throw new Error(line)
      else if (line.includes('"id"')) left--
    }
  }
}

const pending = async () => metric(await node.metrics(), 'fanfare_presence_pending')
const done = async () =>
  metric(await node.metrics(), 'fanfare_command_duration_seconds_count', '{command="unsubscribe"}')

/** Expects that SIGTERM ends the node cleanly and in time. */
async function expectCleanStop(): Promise<void> {
  const startMs = performance.now()
  node.child.kill('SIGTERM')
  expect(await node.child.exited).toEqual({ code: 0, signal: null })
  expect(performance.now() - startMs).toBeLessThan(DRAIN_WINDOW_MS + DRAIN_GRACE_MS)
}

describe('a client that subscribes and unsubscribes without pause', () => {
  it.each([
    ['one channel', 1],
    ['many channels', 100],
  ])(
    'to %s is served at the pace of the presence changes, with a bounded number of them pending',
    async (_, count) => {
      const channels = Array.from({ length: PAIRS_IN_FRAME }, (_, index) => `room-${index % count}`)
      const flooder = await connected([...new Set(channels)])
      const other = await connected(['other'])
      const watcher = await RawClient.connect(`${node.wsUrl}/ws/room-0?events=join,leave`)
      const pendingSamples: number[] = []
      const frames = 20
      for (let frame = 0; frame < frames; frame++) {
        flooder.send(pairs(channels, 1_000).join('\n'))
        if (frame % 5 === 0) {
          other.send('{"id":7,"ping":{}}')
          await answers(other, 1)
          pendingSamples.push(await pending())
        }
        await answers(flooder, 2 * PAIRS_IN_FRAME)
      }
      expect(Math.max(...pendingSamples)).toBeLessThanOrEqual(2 * MAX_CHANNELS)
      await eventually(async () => (await pending()) === 0, 'no presence change is pending')
      expect(await done()).toBeGreaterThanOrEqual(frames * PAIRS_IN_FRAME)
      const events = watcher.frames.map(
        ({ data }) => JSON.parse(data.toString()) as { event: string; client: string },
      )
      const [own, ...others] = events
      expect(own?.event).toBe('join')
      expect(others.map(({ event }) => event)).toEqual(
        others.map((_, index) => (index % 2 === 0 ? 'join' : 'leave')),
      )
      expect(others.at(-1)?.event).toBe('leave')
      expect(others.length).toBeLessThan(2 * frames * (PAIRS_IN_FRAME / count))
      await expectCleanStop()
    },
  )

  it('is closed with 3013 when it does not wait for answers, and leaves no pending work', async () => {
    const channels = Array.from({ length: PAIRS_IN_FRAME }, () => 'room')
    const flooder = await connected(['room'])
    const other = await connected(['other'])
    // While Redis is frozen no presence change is written, and all accepted commands accumulate.
    redis.freeze()
    for (let frame = 0; frame < 20; frame++) flooder.send(pairs(channels, 1_000).join('\n'))
    expect(await flooder.closed).toEqual({ code: 3013, reason: 'too many requests' })
    expect(await pending()).toBeLessThanOrEqual(1)
    other.send('{"id":7,"ping":{}}')
    await answers(other, 1)
    redis.resume()
    await eventually(async () => (await pending()) === 0, 'no presence change is pending')
    expect(await done()).toBeLessThan(2 * MAX_CHANNELS)
    await expectCleanStop()
  })
})
