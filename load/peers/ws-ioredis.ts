/**
 * What many teams write first: `ws`, `ioredis`, messages relayed as JSON text, a map of rooms to sets of sockets and a
 * loop of `send()`. `/ws/<room>` relays each frame through Redis to everybody else in the room. The heartbeat is the one
 * of ws' README.
 */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { type WebSocket, WebSocketServer } from 'ws'
import { redisUrlFromArguments, roomOfPath } from './relay.js'

const PING_INTERVAL_MS = 30_000
const PREFIX = 'ws:'

/** What goes through Redis. */
interface Relayed {
  sender: string
  text?: string
  /** Of a binary frame. */
  base64?: string
}

const rooms = new Map<string, Set<WebSocket>>()
const connections = new Map<string, WebSocket>()
const alive = new WeakSet<WebSocket>()
const publisher = new Redis(redisUrlFromArguments())
const subscriber = new Redis(redisUrlFromArguments())

subscriber.on('message', (channel: string, message: string) => {
  const { sender, text, base64 = '' } = JSON.parse(message) as Relayed
  const data = text ?? Buffer.from(base64, 'base64')
  for (const socket of rooms.get(channel.slice(PREFIX.length)) ?? []) {
    if (socket !== connections.get(sender) && socket.readyState === socket.OPEN) socket.send(data)
  }
})

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: 1024 * 1024 })

server.on('connection', (socket, request) => {
  const room = roomOfPath(request.url ?? '')
  if (room === undefined) {
    socket.close(1008, 'No such room')
    return
  }
  const id = randomUUID()
  connections.set(id, socket)
  join(room, socket)
  alive.add(socket)
  socket.on('pong', () => alive.add(socket))
  socket.on('message', (data: Buffer, isBinary) => {
    const content = isBinary ? { base64: data.toString('base64') } : { text: data.toString() }
    publisher.publish(PREFIX + room, JSON.stringify({ sender: id, ...content })).catch(console.error)
  })
  socket.on('error', (error) => console.error(error))
  socket.on('close', () => {
    connections.delete(id)
    leave(room, socket)
  })
})

function join(room: string, socket: WebSocket): void {
  const members = rooms.get(room)
  if (members !== undefined) {
    members.add(socket)
    return
  }
  rooms.set(room, new Set([socket]))
  subscriber.subscribe(PREFIX + room).catch(console.error)
}

function leave(room: string, socket: WebSocket): void {
  const members = rooms.get(room)
  if (members === undefined) return
  members.delete(socket)
  if (members.size > 0) return
  rooms.delete(room)
  subscriber.unsubscribe(PREFIX + room).catch(console.error)
}

const heartbeat = setInterval(() => {
  for (const socket of server.clients) {
    if (!alive.delete(socket)) socket.terminate()
    else socket.ping()
  }
}, PING_INTERVAL_MS)

server.on('listening', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  console.log(`listening on ${address.port}`)
})

process.once('SIGTERM', () => {
  clearInterval(heartbeat)
  for (const socket of server.clients) socket.terminate()
  server.close()
  publisher.disconnect()
  subscriber.disconnect()
})
