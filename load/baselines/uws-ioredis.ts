/**
 * The least that a cluster on uWebSockets.js and Redis can be: `/ws/<channel>` relays each frame through Redis to all
 * other clients in the channel, by uWS topics. No authentication, limits, metrics or heartbeat settings.
 */
import type { UwsRequest, UwsWebSocket } from '../../src/transport/uws/library.js'
import { LISTEN, loadUws } from '../../src/transport/uws/load-uws.js'
import { channelOfPath, Relay, redisUrlFromArguments } from './relay.js'

interface Connection {
  id: number
  channel: string
  /** The channel in bytes, which the library takes as they are. */
  topic: Buffer
}

/** Headers of a handshake that its answer depends on. */
const HANDSHAKE = {
  key: Buffer.from('sec-websocket-key'),
  protocol: Buffer.from('sec-websocket-protocol'),
  extensions: Buffer.from('sec-websocket-extensions'),
}

const uws = loadUws()
const app = uws.App()
const connections = new Map<number, UwsWebSocket<Connection>>()
const subscriberCounts = new Map<string, number>()
let lastId = 0

const relay = new Relay(redisUrlFromArguments(), 'uws:', ({ channel, senderId, isBinary, payload }) => {
  const sender = senderId === undefined ? undefined : connections.get(senderId)
  if (sender === undefined) app.publish(channel, payload, isBinary)
  else sender.publish(channel, payload, isBinary)
})

function header(request: UwsRequest, name: Buffer): Buffer {
  return Buffer.from(request.getHeader(name))
}

app.ws<Connection>(Buffer.from('/*'), {
  idleTimeout: 32,
  sendPingsAutomatically: true,
  maxPayloadLength: 1024 * 1024,
  // The default of 64 KiB silently drops what a subscriber that is briefly slow has not read.
  maxBackpressure: 16 * 1024 * 1024,
  upgrade(response, request, context) {
    const channel = channelOfPath(request.getUrl())
    if (channel === undefined) {
      response.writeStatus(Buffer.from('404 Not Found'))
      response.end(Buffer.alloc(0), false)
      return
    }
    lastId += 1
    response.upgrade<Connection>(
      { id: lastId, channel, topic: Buffer.from(channel) },
      header(request, HANDSHAKE.key),
      header(request, HANDSHAKE.protocol),
      header(request, HANDSHAKE.extensions),
      context,
    )
  },
  open(connection) {
    const { id, channel, topic } = connection.getUserData()
    connections.set(id, connection)
    connection.subscribe(topic)
    const subscribers = subscriberCounts.get(channel) ?? 0
    subscriberCounts.set(channel, subscribers + 1)
    if (subscribers === 0) relay.subscribe(channel)
  },
  message(connection, message, isBinary) {
    const { id, channel } = connection.getUserData()
    relay.publish(channel, id, new Uint8Array(message), isBinary)
  },
  close(connection) {
    const { id, channel } = connection.getUserData()
    connections.delete(id)
    const subscribers = (subscriberCounts.get(channel) ?? 1) - 1
    if (subscribers > 0) {
      subscriberCounts.set(channel, subscribers)
      return
    }
    subscriberCounts.delete(channel)
    relay.unsubscribe(channel)
  },
})

app.listen(Buffer.from('127.0.0.1'), 0, LISTEN.exclusive, (listenSocket) => {
  if (listenSocket === false) throw new Error('cannot listen')
  console.log(`listening on ${uws.us_socket_local_port(listenSocket)}`)
  process.once('SIGTERM', () => {
    app.close()
    relay.close()
  })
})
