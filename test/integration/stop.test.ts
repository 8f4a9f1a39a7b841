import { describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RawClient, refusalOf } from '../support/raw-client.js'

const start = (settings: Record<string, string> = {}) =>
  FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'secret', FANFARE_LOG_LEVEL: 'debug', ...settings })
const open = (node: FanfareProcess, path = '/ws/room') =>
  RawClient.connect(`${node.wsUrl}${path}`, { token: 'secret' })

describe('a node that is stopped', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'ends with 0 after %s when no client is connected',
    async (signal) => {
      const node = await start()
      expect(await node.child.stop(signal)).toEqual({ code: 0, signal: null })
      // It does not wait for the drain window of 20 s, and ends cleanly.
      expect(node.child.output).toContain('"isClean":true')
    },
  )

  it('closes its connections with 1001 Going away, then ends with 0', async () => {
    const node = await start()
    const clients = await Promise.all([open(node), open(node), open(node, '/echo')])
    node.child.kill('SIGTERM')
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 1001, reason: 'Going away' })
    }
    expect(await node.child.exited).toEqual({ code: 0, signal: null })
  })

  it('spreads the closes over the window, and is not ready and accepts no connections meanwhile', async () => {
    const node = await start({ FANFARE_DRAIN_WINDOW: '5s' })
    const clients = await Promise.all(Array.from({ length: 500 }, () => open(node)))
    let closed = 0
    for (const client of clients) {
      void client.closed.then(() => {
        closed++
      })
    }
    node.child.kill('SIGTERM')
    await Promise.race(clients.map((client) => client.closed))
    expect(closed).toBeLessThan(250)
    const ready = await fetch(`${node.internalUrl}/ready`)
    expect(ready.status).toBe(503)
    expect(await ready.json()).toEqual({ status: 'draining', reasons: ['node_stopping'] })
    await expect(open(node)).rejects.toThrow(/ECONNREFUSED/)
    expect(await node.child.exited).toEqual({ code: 0, signal: null })
    expect(closed).toBe(500)
  })

  it('continues to serve during the drain delay, in which the balancer detects the drain', async () => {
    const node = await start({ FANFARE_DRAIN_DELAY: '5s' })
    const early = await open(node)
    node.child.kill('SIGTERM')
    await node.child.line(/"msg":"draining"/)
    expect((await fetch(`${node.internalUrl}/ready`)).status).toBe(503)
    const late = await open(node)
    late.send('still here')
    expect(await early.nextText()).toBe('still here')
    expect(await late.closed).toEqual({ code: 1001, reason: 'Going away' })
    expect(await node.child.exited).toEqual({ code: 0, signal: null })
  })

  it('refuses a handshake on a TCP connection that was open before', async () => {
    const node = await start({ FANFARE_DRAIN_WINDOW: '20s', FANFARE_LOG_LEVEL: 'debug' })
    await Promise.all(Array.from({ length: 800 }, () => open(node)))
    // Opened before the node stops listening; its handshake comes after that.
    const { connect } = await import('node:net')
    const socket = connect(node.port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    node.child.kill('SIGTERM')
    await node.child.line(/connection closed/)
    const refusal = refusalOf(
      RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret', createConnection: () => socket }),
    )
    expect(await refusal).toMatchObject({ status: 503 })
    node.child.kill('SIGINT')
  })

  it('does not wait for a request that never ends', async () => {
    const node = await start()
    const { connect } = await import('node:net')
    const socket = connect(node.port, '127.0.0.1')
    socket.on('error', () => undefined)
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.write('POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc')
    await open(node)
    node.child.kill('SIGTERM')
    expect(await node.child.exited).toEqual({ code: 0, signal: null })
  })

  it('counts two signals in quick succession as one, as Ctrl-C sends them through npm', async () => {
    const node = await start()
    const clients = await Promise.all(Array.from({ length: 100 }, () => open(node)))
    node.child.kill('SIGINT')
    await Promise.race(clients.map((client) => client.closed))
    node.child.kill('SIGINT')
    expect(await node.child.exited).toEqual({ code: 0, signal: null })
    const codes = await Promise.all(clients.map((client) => client.closed))
    expect(new Set(codes.map(({ code }) => code))).toEqual(new Set([1001]))
  })

  it('ends at once with 1 at the second signal', async () => {
    const node = await start()
    const clients = await Promise.all(Array.from({ length: 800 }, () => open(node)))
    node.child.kill('SIGTERM')
    await Promise.race(clients.map((client) => client.closed))
    node.child.kill('SIGINT')
    expect(await node.child.exited).toEqual({ code: 1, signal: null })
    const codes = await Promise.all(clients.map((client) => client.closed))
    expect(codes.some(({ code }) => code === 1006)).toBe(true)
  })
})
