/**
 * The least that a cluster on uWebSockets.js and Redis can be: `/ws/<room>` relays each frame through Redis to
 * everybody else in the room, by uWS topics. No authentication, limits, metrics or heartbeat settings.
 */
import uWS, { type WebSocket } from 'uWebSockets.js'
import { Relay, redisUrlFromArguments, roomOfPath } from './relay.js'

interface Member {
  id: number
  room: string
}

const connections = new Map<number, WebSocket<Member>>()
const memberCounts = new Map<string, number>()
let lastId = 0

const app = uWS.App()

const relay = new Relay(redisUrlFromArguments(), 'uws:', ({ room, senderId, isBinary, payload }) => {
  const sender = senderId === undefined ? undefined : connections.get(senderId)
  if (sender === undefined) app.publish(room, payload, isBinary)
  else sender.publish(room, payload, isBinary)
})

app.ws<Member>('/*', {
  idleTimeout: 32,
  maxPayloadLength: 1024 * 1024,
  // The default of 64 KiB drops quietly what a subscriber that is a moment late has not read.
  maxBackpressure: 16 * 1024 * 1024,
  upgrade(response, request, context) {
    const room = roomOfPath(request.getUrl())
    if (room === undefined) {
      response.writeStatus('404 Not Found').end()
      return
    }
    lastId += 1
    response.upgrade(
      { id: lastId, room },
      request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'),
      request.getHeader('sec-websocket-extensions'),
      context,
    )
  },
  open(connection) {
    const { id, room } = connection.getUserData()
    connections.set(id, connection)
    connection.subscribe(room)
    const members = memberCounts.get(room) ?? 0
    memberCounts.set(room, members + 1)
    if (members === 0) relay.join(room)
  },
  message(connection, message, isBinary) {
    const { id, room } = connection.getUserData()
    relay.publish(room, id, new Uint8Array(message), isBinary)
  },
  close(connection) {
    const { id, room } = connection.getUserData()
    connections.delete(id)
    const members = (memberCounts.get(room) ?? 1) - 1
    if (members > 0) {
      memberCounts.set(room, members)
      return
    }
    memberCounts.delete(room)
    relay.leave(room)
  },
})

app.listen('127.0.0.1', 0, (listenSocket) => {
  if (listenSocket === false) throw new Error('cannot listen')
  console.log(`listening on ${uWS.us_socket_local_port(listenSocket)}`)
  process.once('SIGTERM', () => {
    uWS.us_listen_socket_close(listenSocket)
    for (const connection of [...connections.values()]) connection.close()
    relay.close()
  })
})
