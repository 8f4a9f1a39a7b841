/**
 * What many teams write first: `ws`, `ioredis`, messages relayed as JSON text, a map of channels to sets of sockets and
 * a loop of `send()`. `/ws/<channel>` relays each frame through Redis to all other clients in the channel. The heartbeat
 * is that of ws' README.
 */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { type WebSocket, WebSocketServer } from 'ws'
import { channelOfPath, redisUrlFromArguments } from './relay.js'

const PING_INTERVAL_MS = 30_000
const PREFIX = 'ws:'

/** A message in Redis. */
interface RelayedMessage {
  sender: string
  text?: string
  /** Of a binary frame. */
  base64?: string
}

const channels = new Map<string, Set<WebSocket>>()
const connections = new Map<string, WebSocket>()
const alive = new WeakSet<WebSocket>()
const publisher = new Redis(redisUrlFromArguments())
const subscriber = new Redis(redisUrlFromArguments())

subscriber.on('message', (redisChannel: string, message: string) => {
  const { sender, text, base64 = '' } = JSON.parse(message) as RelayedMessage
  const data = text ?? Buffer.from(base64, 'base64')
  for (const socket of channels.get(redisChannel.slice(PREFIX.length)) ?? []) {
    if (socket !== connections.get(sender) && socket.readyState === socket.OPEN) socket.send(data)
  }
})

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: 1024 * 1024 })

server.on('connection', (socket, request) => {
  const channel = channelOfPath(request.url ?? '')
  if (channel === undefined) {
    socket.close(1008, 'No such channel')
    return
  }
  const id = randomUUID()
  connections.set(id, socket)
  subscribe(channel, socket)
  alive.add(socket)
  socket.on('pong', () => alive.add(socket))
  socket.on('message', (data: Buffer, isBinary) => {
    const content = isBinary ? { base64: data.toString('base64') } : { text: data.toString() }
    publisher.publish(PREFIX + channel, JSON.stringify({ sender: id, ...content })).catch(console.error)
  })
  socket.on('error', (error) => console.error(error))
  socket.on('close', () => {
    connections.delete(id)
    unsubscribe(channel, socket)
  })
})

function subscribe(channel: string, socket: WebSocket): void {
  const subscribers = channels.get(channel)
  if (subscribers !== undefined) {
    subscribers.add(socket)
    return
  }
  channels.set(channel, new Set([socket]))
  subscriber.subscribe(PREFIX + channel).catch(console.error)
}

function unsubscribe(channel: string, socket: WebSocket): void {
  const subscribers = channels.get(channel)
  if (subscribers === undefined) return
  subscribers.delete(socket)
  if (subscribers.size > 0) return
  channels.delete(channel)
  subscriber.unsubscribe(PREFIX + channel).catch(console.error)
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
