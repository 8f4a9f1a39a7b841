import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

describe('a raw connection', () => {
  let node: FanfareProcess
  const open = (path: string) => RawClient.connect(`${node.wsUrl}${path}`, { token: 'secret-a' })

  beforeAll(async () => {
    node = await FanfareProcess.start({ FANFARE_LOG_LEVEL: 'debug', FANFARE_AUTH_TOKENS: 'alice=secret-a' })
  })
  afterAll(() => node.child.stop())

  it('receives publications of others in its channel, text as text and binary as binary, and never its own', async () => {
    const [publisher, subscriber, elsewhere] = await Promise.all([
      open('/ws/room'),
      open('/ws/room'),
      open('/ws/elsewhere'),
    ])
    publisher.send('grüße')
    publisher.send(Buffer.from([0, 255, 10]))
    expect(await subscriber.next()).toEqual({ data: Buffer.from('grüße'), isBinary: false })
    expect(await subscriber.next()).toEqual({ data: Buffer.from([0, 255, 10]), isBinary: true })
    subscriber.send('answer')
    expect(await publisher.nextText()).toBe('answer')
    expect(elsewhere.frames).toEqual([])
  })

  it.each([
    ['an empty text', Buffer.alloc(0), false],
    ['an empty binary', Buffer.alloc(0), true],
    ['newlines', Buffer.from('\n\n{"a":1}\n{"b":2}\r\n\0'), false],
    ['1 MiB of text', Buffer.alloc(1024 * 1024, 'x'), false],
    ['1 MiB of bytes that are not UTF-8', Buffer.alloc(1024 * 1024, 0xff), true],
  ])('relays %s unchanged', async (_what, data, isBinary) => {
    const [publisher, subscriber] = await Promise.all([open('/ws/bytes'), open('/ws/bytes')])
    publisher.socket.send(data, { binary: isBinary })
    const frame = await subscriber.next()
    expect(frame.isBinary).toBe(isBinary)
    expect(frame.data.equals(data)).toBe(true)
    publisher.close()
    subscriber.close()
  })

  it('keeps the order of a burst with repeated messages', async () => {
    const [publisher, subscriber] = await Promise.all([open('/ws/burst'), open('/ws/burst')])
    const messages = Array.from({ length: 1_000 }, (_, index) => `${index % 7} again`)
    for (const text of messages) publisher.send(text)
    expect(await subscriber.nextTexts(messages.length)).toEqual(messages)
  })

  it('is answered pong to the text ping, which no other client receives', async () => {
    const [pinging, other] = await Promise.all([open('/ws/pings'), open('/ws/pings')])
    pinging.send('ping')
    expect(await pinging.nextText()).toBe('pong')
    pinging.socket.send('ping', { binary: true })
    expect(await other.next()).toEqual({ data: Buffer.from('ping'), isBinary: true })
  })

  it('is closed with the code and reason of its client, which are logged and counted', async () => {
    const client = await open('/ws/closing')
    client.close(4321, 'enough\n{"for":"today"}')
    expect(await client.closed).toEqual({ code: 4321, reason: 'enough\n{"for":"today"}' })
    const line = await node.child.line(/"code":4321/)
    expect(JSON.parse(line)).toMatchObject({
      msg: 'connection closed',
      channel: 'closing',
      user: 'alice',
      reason: 'enough\n{"for":"today"}',
    })
    const labels = '{protocol="raw",code="4321"}'
    expect(metric(await node.metrics(), 'fanfare_connections_closed_total', labels)).toBe(1)
  })

  it('is closed with 1009 and the limit when its message is a byte too big', async () => {
    const client = await open('/ws/big')
    client.send(Buffer.alloc(1024 * 1024 + 1))
    expect(await client.closed).toEqual({
      code: 1009,
      reason: 'Message too big: 1048577 bytes, the limit is 1048576',
    })
  })

  it('is cut when its message is far too big, before the message is buffered', async () => {
    const client = await open('/ws/huge')
    client.send(Buffer.alloc(8 * 1024 * 1024))
    expect((await client.closed).code).toBe(1006)
    await node.child.line(/"channel":"huge","code":1006/)
  })

  it('is cut when its text is not UTF-8, and the node continues', async () => {
    const client = await open('/ws/invalid')
    client.socket.send(Buffer.from([0xc3, 0x28]), { binary: false })
    expect((await client.closed).code).toBe(1006)
    const next = await open('/ws/invalid')
    next.send('ping')
    expect(await next.nextText()).toBe('pong')
  })

  it('receives joins and leaves if it watches them, including its own join, with the number online', async () => {
    const watcher = await open('/ws/lobby?events=join,leave')
    const own = JSON.parse(await watcher.nextText()) as { client: string }
    expect(own).toEqual({ event: 'join', client: expect.any(String), user: 'alice', online: 1 })
    const visitor = await open('/ws/lobby')
    const joined = JSON.parse(await watcher.nextText()) as { client: string }
    expect(joined).toEqual({ event: 'join', client: expect.any(String), user: 'alice', online: 2 })
    expect(joined.client).not.toBe(own.client)
    visitor.close()
    expect(JSON.parse(await watcher.nextText())).toEqual({ ...joined, event: 'leave', online: 1 })
    expect(visitor.frames).toEqual([])
  })

  it('receives only leaves if it watches only them', async () => {
    const watcher = await open('/ws/exit?events=leave')
    const visitor = await open('/ws/exit')
    visitor.close()
    expect(JSON.parse(await watcher.nextText())).toMatchObject({ event: 'leave', online: 1 })
  })

  it('has its channel name from the percent-decoded path, including slashes', async () => {
    const [publisher, subscriber] = await Promise.all([open('/ws/a%20b/c%2Fd'), open('/ws/a%20b/c/d')])
    publisher.send('same')
    expect(await subscriber.nextText()).toBe('same')
  })

  it('is removed from the gauges when it is closed', async () => {
    const clients = await Promise.all([open('/ws/g1'), open('/ws/g1'), open('/ws/g2'), open('/echo')])
    expect(metric(await node.metrics(), 'fanfare_connections', '{protocol="echo"}')).toBe(1)
    for (const client of clients) client.socket.terminate()
    // The echo connections are closed asynchronously.
    const left = async () => metric(await node.metrics(), 'fanfare_connections', '{protocol="echo"}')
    await eventually(async () => (await left()) === 0, 'no echo connection is left')
  })
})

describe('a node without connections', () => {
  it('has all gauges at zero', async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_ANONYMOUS: 'true' })
    const paths = ['/ws/a?events=join', '/ws/a', '/ws/b', '/echo']
    const clients = await Promise.all(paths.map((path) => RawClient.connect(`${node.wsUrl}${path}`)))
    const gauges = async () => {
      const exposition = await node.metrics()
      return [
        metric(exposition, 'fanfare_connections', '{protocol="raw"}'),
        metric(exposition, 'fanfare_connections', '{protocol="echo"}'),
        metric(exposition, 'fanfare_subscriptions', '{namespace=""}'),
        metric(exposition, 'fanfare_channels'),
        metric(exposition, 'fanfare_backpressure_bytes'),
      ]
    }
    expect(await gauges()).toEqual([3, 1, 3, 2, 0])
    for (const client of clients.slice(0, 2)) client.close()
    for (const client of clients.slice(2)) client.socket.terminate()
    await eventually(async () => (await gauges()).every((value) => value === 0), 'all gauges are zero')
    await node.child.stop()
  })
})
