import { describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

describe('a client that stops reading', () => {
  it('is closed as a slow consumer once its queue is full, while others receive every publication', async () => {
    const node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_RAW_QUEUE_BYTES: '64KiB',
    })
    const open = () => RawClient.connect(`${node.wsUrl}/ws/feed`, { token: 'secret' })
    const [publisher, reader, slow] = await Promise.all([open(), open(), open()])
    slow.socket.pause()

    // Each publication waits for the reader, so that only the slow client falls behind, whatever the system buffers for it.
    const logged = node.child.nextLine(/"code":3008/)
    let isClosed = false
    void logged.then(() => {
      isClosed = true
    })
    const chunk = Buffer.alloc(32 * 1024, 'x')
    let published = 0
    for (; !isClosed; published++) {
      publisher.send(chunk)
      expect((await reader.next()).data.length).toBe(chunk.length)
    }

    expect(JSON.parse(await logged)).toMatchObject({ code: 3008, reason: 'Slow consumer', channel: 'feed' })
    // The close frame does not fit the queue either, so the client sees no other code.
    slow.socket.resume()
    expect((await slow.closed).code).toBe(1006)
    const exposition = await node.metrics()
    expect(metric(exposition, 'fanfare_slow_consumer_closes_total', '{protocol="raw"}')).toBe(1)
    await eventually(
      async () => metric(await node.metrics(), 'fanfare_backpressure_bytes') === 0,
      'its queue is released',
    )
    expect(reader.frames.length).toBe(published)
    await node.child.stop()
  })
})
