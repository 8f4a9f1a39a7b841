/**
 * What many teams run: `ws`, `ioredis`, a map of rooms to sets of sockets and a loop of `send()`. `/ws/<room>` relays
 * each frame through Redis to everybody else in the room. The heartbeat is the one of ws' README.
 */
import { type WebSocket, WebSocketServer } from 'ws'
import { Relay, redisUrlFromArguments, roomOfPath } from './relay.js'

const PING_INTERVAL_MS = 30_000

const rooms = new Map<string, Set<WebSocket>>()
const connections = new Map<number, WebSocket>()
const alive = new WeakSet<WebSocket>()
let lastId = 0

const relay = new Relay(redisUrlFromArguments(), 'ws:', ({ room, senderId, isBinary, payload }) => {
  const sender = senderId === undefined ? undefined : connections.get(senderId)
  for (const socket of rooms.get(room) ?? []) {
    if (socket !== sender && socket.readyState === socket.OPEN) socket.send(payload, { binary: isBinary })
  }
})

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: 1024 * 1024 })

server.on('connection', (socket, request) => {
  const room = roomOfPath(request.url ?? '')
  if (room === undefined) {
    socket.close(1008, 'No such room')
    return
  }
  lastId += 1
  const id = lastId
  connections.set(id, socket)
  join(room, socket)
  alive.add(socket)
  socket.on('pong', () => alive.add(socket))
  socket.on('message', (data: Buffer, isBinary) => relay.publish(room, id, data, isBinary))
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
  relay.join(room)
}

function leave(room: string, socket: WebSocket): void {
  const members = rooms.get(room)
  if (members === undefined) return
  members.delete(socket)
  if (members.size > 0) return
  rooms.delete(room)
  relay.leave(room)
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
  relay.close()
})
