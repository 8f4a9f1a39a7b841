import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'

/** Header of a relayed message, in bytes: 4 of the node, 4 of its connection, 1 that says text (0) or binary (1). */
const HEADER_BYTES = 9

/** A message that came back from Redis. `senderId` is undefined when the sender is connected elsewhere. */
export interface Relayed {
  room: string
  senderId: number | undefined
  isBinary: boolean
  payload: Buffer
}

/**
 * What a cluster needs of Redis at the least: publish a message
 * with its sender, SUBSCRIBE to the rooms that have members here, and hear every room's messages in Redis' order.
 */
export class Relay {
  private readonly nodeId = randomBytes(4)
  private readonly publisher: Redis
  private readonly subscriber: Redis

  /** Nodes that share a Redis and a prefix of its channels are a cluster. */
  constructor(
    redisUrl: string,
    private readonly prefix: string,
    onMessage: (message: Relayed) => void,
  ) {
    this.publisher = new Redis(redisUrl)
    this.subscriber = new Redis(redisUrl)
    this.subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) => {
      onMessage({
        room: channel.toString('latin1', prefix.length),
        senderId: message.compare(this.nodeId, 0, 4, 0, 4) === 0 ? message.readUInt32BE(4) : undefined,
        isBinary: message[8] === 1,
        payload: message.subarray(HEADER_BYTES),
      })
    })
  }

  publish(room: string, senderId: number, payload: Uint8Array, isBinary: boolean): void {
    const message = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength)
    this.nodeId.copy(message)
    message.writeUInt32BE(senderId, 4)
    message[8] = isBinary ? 1 : 0
    message.set(payload, HEADER_BYTES)
    this.publisher.publish(this.prefix + room, message).catch(report)
  }

  join(room: string): void {
    this.subscriber.subscribe(this.prefix + room).catch(report)
  }

  leave(room: string): void {
    this.subscriber.unsubscribe(this.prefix + room).catch(report)
  }

  close(): void {
    this.publisher.disconnect()
    this.subscriber.disconnect()
  }
}

function report(error: unknown): void {
  console.error(error)
}

/** The Redis address that a peer is started with. */
export function redisUrlFromArguments(): string {
  const url = process.argv[2]
  if (url === undefined) throw new Error('usage: <peer> <redis-url>')
  return url
}

/** The room of `/ws/<room>`, or undefined for another path. */
export function roomOfPath(path: string): string | undefined {
  return /^\/ws\/([^/?]+)/.exec(path)?.[1]
}
