import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { afterThisTest } from './clean-ups.js'

/** A WebSocket server that a test controls. */
export interface TestServer {
  sockets: WebSocketServer
  port: number
  url: string
}

/** Starts a WebSocket server. It is closed after the test. */
export async function webSocketServer(port = 0): Promise<TestServer> {
  const sockets = new WebSocketServer({ port, host: '127.0.0.1' })
  afterThisTest(() => {
    for (const socket of sockets.clients) socket.terminate()
    sockets.close()
  })
  await once(sockets, 'listening')
  const bound = (sockets.address() as AddressInfo).port
  return { sockets, port: bound, url: `ws://127.0.0.1:${bound}` }
}

export async function nextConnection(server: TestServer): Promise<WebSocket> {
  const [socket] = await once(server.sockets, 'connection')
  return socket
}

/** Starts a server that answers each handshake with this status and body instead of an upgrade. */
export async function refusingServer(status: number, body: string): Promise<string> {
  const server = createServer().on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined)
    socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  })
  return listening(server)
}

/** Starts a TCP server, for behaviour that no WebSocket server has. */
export async function tcpServer(onConnection: (socket: Socket) => void): Promise<string> {
  const open = new Set<Socket>()
  const server = createTcpServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    onConnection(socket)
  })
  afterThisTest(() => {
    for (const socket of open) socket.destroy()
  })
  return listening(server)
}

async function listening(server: Server | ReturnType<typeof createTcpServer>): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  afterThisTest(() => server.close())
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}
