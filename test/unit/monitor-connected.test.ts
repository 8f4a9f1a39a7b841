import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import type { WebSocket } from 'ws'
import { decodeBinaryReport, decodeTextReport, encodeBinaryReport } from '../../src/cli/monitor/report.js'
import { cleanUp } from '../support/clean-ups.js'
import { nextConnection, webSocketServer } from '../support/odd-servers.js'
import { QUICK, RunningMonitor } from '../support/running-monitor.js'

afterEach(cleanUp)

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
