import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import type { WebSocket } from 'ws'
import { decodeBinaryReport, decodeTextReport, encodeBinaryReport } from '../../src/cli/monitor/report.js'
import { cleanUp } from '../support/clean-ups.js'
import { QUICK, RunningMonitor } from '../support/running-monitor.js'
import { nextConnection, webSocketServer } from '../support/test-servers.js'

afterEach(cleanUp)

/** Resolves with the first result of `find` that is defined, over the messages from now on. */
function firstOf<T>(socket: WebSocket, find: (data: Buffer, isBinary: boolean) => T | undefined): Promise<T> {
  return new Promise((resolve) => {
    const onMessage = (data: Buffer, isBinary: boolean) => {
      const found = find(data, isBinary)
      if (found === undefined) return
      socket.off('message', onMessage)
      resolve(found)
    }
    socket.on('message', onMessage)
  })
}

describe('a connected monitor', () => {
  it('sends its token in the configured header to the configured channel, and prints neither token nor query', async () => {
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

  it('reports its CPU and memory periodically as text', async () => {
    const server = await webSocketServer()
    new RunningMonitor({ url: server.url, reporter: 'me:1' })
    const socket = await nextConnection(server)
    const report = (data: Buffer, isBinary: boolean) =>
      isBinary ? undefined : decodeTextReport(data.toString())
    expect(await firstOf(socket, report)).toMatchObject({ reporter: 'me:1' })
    expect(await firstOf(socket, report)).toMatchObject({ reporter: 'me:1' })
  })

  it('reports as binary when configured to', async () => {
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

  it('sends pings, does not print the pongs, and stays connected while pongs arrive', async () => {
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

  it('ends although the server does not answer its close frame', async () => {
    const server = await webSocketServer()
    const timings = { ...QUICK, closeTimeoutMs: 50 }
    const monitor = new RunningMonitor({ url: server.url, timings })
    const socket = await nextConnection(server)
    await monitor.line(/connected/)
    socket.pause()
    await monitor.stop()
  })
})
