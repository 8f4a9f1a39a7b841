import { describe, expect, it } from 'vitest'
import { FanfareProcess } from '../support/fanfare-process.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

describe('a client that stops reading', () => {
  it('is closed as a slow consumer once its queue is full, while others get everything', async () => {
    const node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_RAW_QUEUE_BYTES: '64KiB',
    })
    const open = () => RawClient.connect(`${node.wsUrl}/ws/feed`, { token: 'secret' })
    const [speaker, reader, sleeper] = await Promise.all([open(), open(), open()])
    sleeper.socket.pause()

    // Each waits for the reader, so that only the sleeper falls behind, whatever the system buffers for it.
    const logged = node.child.nextLine(/"code":3008/)
    let isClosed = false
    void logged.then(() => {
      isClosed = true
    })
    const chunk = Buffer.alloc(32 * 1024, 'x')
    let said = 0
    for (; !isClosed; said++) {
      speaker.send(chunk)
      expect((await reader.next()).data.length).toBe(chunk.length)
    }

    expect(JSON.parse(await logged)).toMatchObject({ code: 3008, reason: 'Slow consumer', channel: 'feed' })
    // The close frame does not fit the queue either, so this is all that the client can see.
    sleeper.socket.resume()
    expect((await sleeper.closed).code).toBe(1006)
    const exposition = await node.metrics()
    expect(metric(exposition, 'fanfare_slow_consumer_closes_total', '{protocol="raw"}')).toBe(1)
    await eventually(
      async () => metric(await node.metrics(), 'fanfare_backpressure_bytes') === 0,
      'what was queued for it is gone',
    )
    expect(reader.frames.length).toBe(said)
    await node.child.stop()
  })
})
