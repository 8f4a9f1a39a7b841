import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/local/free-port.js'
import { cleanUp } from '../support/clean-ups.js'
import { QUICK, RunningMonitor } from '../support/running-monitor.js'
import { nextConnection, refusingServer, tcpServer, webSocketServer } from '../support/test-servers.js'

afterEach(cleanUp)

describe('a monitor prints what failed, and reconnects', () => {
  it('when no server listens, until one does', async () => {
    const port = await freePort()
    const monitor = new RunningMonitor({ url: `ws://127.0.0.1:${port}` })
    expect(await monitor.line(/refused/)).toMatch(/refused: .*\(ECONNREFUSED\); reconnecting in 0\.05 s$/)
    await webSocketServer(port)
    await monitor.line(/connected/)
  })

  // Without a name service, the lookup fails only after its time-out.
  it('when the host is not found', async () => {
    const timings = { ...QUICK, handshakeTimeoutMs: 60_000 }
    const monitor = new RunningMonitor({ url: 'ws://no-such-host.invalid:8000', timings })
    await monitor.line(/host not found.*reconnecting/)
  })

  it.each([
    [401, 'wrong token', 'unauthorized: HTTP 401 Unauthorized: wrong token'],
    [403, 'not here', 'forbidden: HTTP 403 Forbidden: not here'],
    [426, 'version 13', 'upgrade required: HTTP 426 Upgrade Required: version 13'],
    [503, 'full\r\n', 'unavailable: HTTP 503 Service Unavailable: full'],
    [418, '', "handshake refused: HTTP 418 I'm a Teapot"],
    [200, 'x'.repeat(100_000), `handshake refused: HTTP 200 OK: ${'x'.repeat(200)}… (4096 characters)`],
    [404, '/ws/x?token=hidden%2B', 'not found: HTTP 404 Not Found: /ws/x?token=***'],
  ])('when the handshake is answered with %i', async (status, body, expected) => {
    const monitor = new RunningMonitor({ url: await refusingServer(status, body), token: 'hidden+' })
    expect(await monitor.line(/HTTP/)).toContain(` ${expected}; reconnecting`)
  })

  it('when the body of an answer does not end', async () => {
    const url = await tcpServer((socket) => {
      socket.write('HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nso far')
    })
    const monitor = new RunningMonitor({ url, timings: { ...QUICK, handshakeTimeoutMs: 100 } })
    await monitor.line(/unavailable: HTTP 503 Service Unavailable: so far; reconnecting/)
  })

  it('when the handshake is not answered', async () => {
    const url = await tcpServer((socket) => socket.resume())
    const monitor = new RunningMonitor({ url, timings: { ...QUICK, handshakeTimeoutMs: 100 } })
    await monitor.line(/timed out: no answer to the handshake within 0\.1 s; reconnecting/)
  })

  it('when the server answers the handshake with an end of the connection, or not with HTTP', async () => {
    const endsAtOnce = await tcpServer((socket) => socket.end())
    const speaksNoHttp = await tcpServer((socket) => socket.end('+OK \u001b[2J\r\n'))
    await new RunningMonitor({ url: endsAtOnce }).line(
      /closed: the connection ended during the handshake.*reconn/,
    )
    await new RunningMonitor({ url: speaksNoHttp }).line(/failed \(HPE_\w+\): .*; reconnecting/)
  })

  it('when wss:// meets a server without TLS', async () => {
    const { url } = await webSocketServer()
    await new RunningMonitor({ url: url.replace('ws:', 'wss:') }).line(/TLS failed.*\(EPROTO\); reconnecting/)
  })

  it('when it is closed with a code and a reason', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url })
    const socket = await nextConnection(server)
    socket.close(4001, 'moved\non')
    await monitor.line(/closed: code 4001, reason: moved\\non; reconnecting in 0\.05 s$/)
    const next = await nextConnection(server)
    next.close()
    await monitor.line(/closed: code 1005, no code was given; reconnecting/)
  })

  it('when the connection is cut', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url })
    const socket = await nextConnection(server)
    await monitor.line(/connected/)
    socket.terminate()
    await monitor.line(/closed: code 1006.*; reconnecting/)
  })

  it('when the server breaks the protocol', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url })
    server.sockets.on('connection', (_socket, request) => request.socket.write(Buffer.from([0xff, 0xff])))
    await monitor.line(/closed: code 10\d\d \(WS_ERR_\w+\): .*; reconnecting/)
  })

  it('when no pong arrives in time', async () => {
    const server = await webSocketServer()
    const timings = { ...QUICK, pongTimeoutMs: 50 }
    const monitor = new RunningMonitor({ url: server.url, timings })
    const socket = await nextConnection(server)
    const cut = once(socket, 'close')
    await monitor.line(/timed out: no pong within 0\.05 s; reconnecting/)
    expect((await cut)[0]).toBe(1006)
    await nextConnection(server)
  })

  it('no sooner than after the delay', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url, timings: { ...QUICK, reconnectDelayMs: 300 } })
    const socket = await nextConnection(server)
    socket.close(1001, 'Going away')
    await monitor.line(/reconnecting in 0\.3 s/)
    const closedAt = performance.now()
    await nextConnection(server)
    // Timers may fire up to a millisecond early.
    expect(performance.now() - closedAt).toBeGreaterThanOrEqual(298)
  })

  it('but not when it is stopped while it waits', async () => {
    const timings = { ...QUICK, reconnectDelayMs: 3_600_000 }
    const monitor = new RunningMonitor({ url: `ws://127.0.0.1:${await freePort()}`, timings })
    await monitor.line(/reconnecting/)
    await monitor.stop()
  })
})
