import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { decodeBinaryReport, decodeTextReport, encodeBinaryReport } from '../../src/cli/monitor/report.js'
import { type MonitorOptions, type MonitorTimings, runMonitor } from '../../src/cli/monitor.js'
import { freePort } from '../support/free-port.js'

const QUICK: MonitorTimings = {
  pingIntervalMs: 50,
  pongTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  closeTimeoutMs: 10_000,
  reconnectDelayMs: 50,
}

const cleanUps: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** A monitor in this process, stopped after the test. */
class RunningMonitor {
  readonly lines: string[] = []
  readonly ended: Promise<void>
  private readonly abort = new AbortController()
  private readonly watchers = new Set<() => void>()

  constructor(options: Partial<MonitorOptions> & { url: string }) {
    const print = (line: string) => {
      this.lines.push(line)
      for (const watch of this.watchers) watch()
    }
    const complete = { reportIntervalMs: 50, binary: false, timings: QUICK, ...options }
    this.ended = runMonitor(complete, { print, signal: this.abort.signal })
    cleanUps.push(() => this.stop())
  }

  /** The first line, printed or yet to come, that the pattern matches. */
  line(pattern: RegExp): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.lines.find((line) => pattern.test(line))
        if (found === undefined) return
        this.watchers.delete(look)
        resolve(found)
      }
      this.watchers.add(look)
      look()
    })
  }

  stop(): Promise<void> {
    this.abort.abort()
    return this.ended
  }
}

interface TestServer {
  sockets: WebSocketServer
  port: number
  url: string
}

async function webSocketServer(port = 0): Promise<TestServer> {
  const sockets = new WebSocketServer({ port, host: '127.0.0.1' })
  cleanUps.push(() => {
    for (const socket of sockets.clients) socket.terminate()
    sockets.close()
  })
  await once(sockets, 'listening')
  const bound = (sockets.address() as AddressInfo).port
  return { sockets, port: bound, url: `ws://127.0.0.1:${bound}` }
}

async function nextConnection(server: TestServer): Promise<WebSocket> {
  const [socket] = await once(server.sockets, 'connection')
  return socket
}

/** The first message, from now on, that the function finds something in. */
function firstOf<T>(socket: WebSocket, find: (data: Buffer, isBinary: boolean) => T | undefined): Promise<T> {
  return new Promise((resolve) => {
    const look = (data: Buffer, isBinary: boolean) => {
      const found = find(data, isBinary)
      if (found === undefined) return
      socket.off('message', look)
      resolve(found)
    }
    socket.on('message', look)
  })
}

/** A server that answers each handshake with this instead of an upgrade. */
async function refusingServer(status: number, body: string): Promise<string> {
  const server = createServer().on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined)
    socket.end(`HTTP/1.1 ${status} Whatever\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  })
  return listening(server)
}

/** A server of bare TCP, for what no WebSocket server does. */
async function tcpServer(onConnection: (socket: Socket) => void): Promise<string> {
  const open = new Set<Socket>()
  const server = createTcpServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    onConnection(socket)
  })
  cleanUps.push(() => {
    for (const socket of open) socket.destroy()
  })
  return listening(server)
}

async function listening(server: Server | ReturnType<typeof createTcpServer>): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanUps.push(() => server.close())
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('a monitor that is connected', () => {
  it('sends its token in the header it is told, to the channel it is told, and prints neither token nor query', async () => {
    const server = await webSocketServer()
    const options = { channel: 'a b', token: 'hidden-1', header: 'X-Monitor-Token' }
    const monitor = new RunningMonitor({ url: `${server.url}?token=hidden-2`, ...options })
    const [, request] = await once(server.sockets, 'connection')
    expect(request.url).toBe('/ws/a%20b?token=hidden-2')
    expect(request.headers['x-monitor-token']).toBe('hidden-1')
    expect(await monitor.line(/connected/)).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z connected to .*\/ws\/a%20b as /,
    )
    expect(monitor.lines.join()).not.toContain('hidden')
  })

  it('sends the token in X-Auth-Token when no header is named', async () => {
    const server = await webSocketServer()
    new RunningMonitor({ url: server.url, token: 'secret' })
    const [, request] = await once(server.sockets, 'connection')
    expect(request.headers['x-auth-token']).toBe('secret')
  })

  it('reports its CPU and memory again and again as text', async () => {
    const server = await webSocketServer()
    new RunningMonitor({ url: server.url, reporter: 'me:1' })
    const socket = await nextConnection(server)
    const report = (data: Buffer, isBinary: boolean) =>
      isBinary ? undefined : decodeTextReport(data.toString())
    expect(await firstOf(socket, report)).toMatchObject({ reporter: 'me:1' })
    expect(await firstOf(socket, report)).toMatchObject({ reporter: 'me:1' })
  })

  it('reports as binary when asked to', async () => {
    const server = await webSocketServer()
    new RunningMonitor({ url: server.url, reporter: 'me:1', binary: true })
    const socket = await nextConnection(server)
    const report = (data: Buffer, isBinary: boolean) => (isBinary ? decodeBinaryReport(data) : undefined)
    expect(await firstOf(socket, report)).toMatchObject({ reporter: 'me:1' })
  })

  it('prints the reports of others and any other message', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url })
    const socket = await nextConnection(server)
    const report = { reporter: 'you:2', cpuPercent: 50, memoryUsedBytes: 2 ** 30, memoryTotalBytes: 2 ** 31 }
    socket.send(JSON.stringify({ type: 'report', version: 1, ...report }))
    socket.send(encodeBinaryReport(report))
    socket.send('two\nlines')
    socket.send(Buffer.alloc(1000))
    socket.send('')
    await monitor.line(/message: $/)
    expect(monitor.lines.slice(1).map((line) => line.slice(line.indexOf(' ') + 1))).toEqual([
      'report from you:2 (text): cpu 50.0 %, memory 1.00 of 2.00 GiB (50.0 %)',
      'report from you:2 (binary): cpu 50.0 %, memory 1.00 of 2.00 GiB (50.0 %)',
      'message: two\\nlines',
      'message: 1000 bytes binary',
      'message: ',
    ])
  })

  it('sends ping, prints no pong that answers one, and stays while they come', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url })
    const socket = await nextConnection(server)
    let pings = 0
    await firstOf(socket, (data) => {
      if (data.toString() !== 'ping') return undefined
      socket.send('pong')
      pings += 1
      return pings === 5 ? true : undefined
    })
    expect(monitor.lines).toHaveLength(1)
  })

  it('closes with 1000 and ends when it is stopped', async () => {
    const server = await webSocketServer()
    const monitor = new RunningMonitor({ url: server.url })
    const socket = await nextConnection(server)
    await monitor.line(/connected/)
    const closed = once(socket, 'close')
    await monitor.stop()
    expect((await closed)[0]).toBe(1000)
    expect(monitor.lines.at(-1)).toMatch(/ stopped$/)
  })

  it('ends all the same when the server does not answer its goodbye', async () => {
    const server = await webSocketServer()
    const timings = { ...QUICK, closeTimeoutMs: 50 }
    const monitor = new RunningMonitor({ url: server.url, timings })
    const socket = await nextConnection(server)
    await monitor.line(/connected/)
    socket.pause()
    await monitor.stop()
  })
})

describe('a monitor names what failed, and comes back', () => {
  it('when nothing listens, until something does', async () => {
    const port = await freePort()
    const monitor = new RunningMonitor({ url: `ws://127.0.0.1:${port}` })
    expect(await monitor.line(/refused/)).toMatch(/refused: .*\(ECONNREFUSED\); reconnecting in 0\.05 s$/)
    await webSocketServer(port)
    await monitor.line(/connected/)
  })

  // Where there is no name service, its time-out is waited for.
  it('when the host is not found', { timeout: 60_000 }, async () => {
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

  it('when the handshake is answered with a hang-up, or with what is not HTTP', async () => {
    const hangsUp = await tcpServer((socket) => socket.end())
    const talksOther = await tcpServer((socket) => socket.end('+OK \u001b[2J\r\n'))
    await new RunningMonitor({ url: hangsUp }).line(
      /closed: the connection ended during the handshake.*reconn/,
    )
    await new RunningMonitor({ url: talksOther }).line(/failed \(HPE_\w+\): .*; reconnecting/)
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

  it('when no pong comes in time', async () => {
    const server = await webSocketServer()
    const timings = { ...QUICK, pongTimeoutMs: 50 }
    const monitor = new RunningMonitor({ url: server.url, timings })
    const socket = await nextConnection(server)
    const cut = once(socket, 'close')
    await monitor.line(/timed out: no pong within 0\.05 s; reconnecting/)
    expect((await cut)[0]).toBe(1006)
    await nextConnection(server)
  })

  it('no sooner than the delay', async () => {
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

describe('a monitor throws at once', () => {
  it.each([
    ['a bad address', { url: 'http://127.0.0.1:1' }, 'bad address'],
    ['a header that is none', { url: 'ws://127.0.0.1:1', token: 't', header: 'a b' }, 'HTTP header'],
    ['a token that fits no header', { url: 'ws://127.0.0.1:1', token: 'a\nb' }, 'HTTP header'],
    [
      'an interval too long for a timer',
      { url: 'ws://127.0.0.1:1', reportIntervalMs: 2 ** 31 },
      'report every',
    ],
  ])('for %s', async (_, options, message) => {
    const io = { print: () => undefined, signal: new AbortController().signal }
    const complete = { reportIntervalMs: 50, binary: false, ...options }
    await expect(runMonitor(complete, io)).rejects.toThrow(message)
  })
})
