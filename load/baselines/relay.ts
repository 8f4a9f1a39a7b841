import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'

/** Header of a relayed message, in bytes: 4 of the node, 4 of its connection, 1 for text (0) or binary (1). */
const HEADER_BYTES = 9

/** A message received from Redis. `senderId` is undefined when the sender is connected to another node. */
export interface RelayedMessage {
  /** Its name in bytes. */
  channel: Buffer
  senderId: number | undefined
  isBinary: boolean
  payload: Buffer
}

/**
 * The least that a cluster needs of Redis: publish a message with its sender, SUBSCRIBE to the channels that have
 * subscribers on this node, and receive the messages of each channel in the order of Redis.
 */
export class Relay {
  private readonly nodeId = randomBytes(4)
  private readonly publisher: Redis
  private readonly subscriber: Redis

  /** Nodes that share a Redis and a prefix of its channels are one cluster. */
  constructor(
    redisUrl: string,
    private readonly prefix: string,
    onMessage: (message: RelayedMessage) => void,
  ) {
    this.publisher = new Redis(redisUrl)
    this.subscriber = new Redis(redisUrl)
    const prefixBytes = Buffer.byteLength(prefix)
    this.subscriber.on('messageBuffer', (redisChannel: Buffer, message: Buffer) => {
      onMessage({
        channel: redisChannel.subarray(prefixBytes),
        senderId: message.compare(this.nodeId, 0, 4, 0, 4) === 0 ? message.readUInt32BE(4) : undefined,
        isBinary: message[8] === 1,
        payload: message.subarray(HEADER_BYTES),
      })
    })
  }

  publish(channel: string, senderId: number, payload: Uint8Array, isBinary: boolean): void {
    const message = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength)
    this.nodeId.copy(message)
    message.writeUInt32BE(senderId, 4)
    message[8] = isBinary ? 1 : 0
    message.set(payload, HEADER_BYTES)
    this.publisher.publish(this.prefix + channel, message).catch(report)
  }

  subscribe(channel: string): void {
    this.subscriber.subscribe(this.prefix + channel).catch(report)
  }

  unsubscribe(channel: string): void {
    this.subscriber.unsubscribe(this.prefix + channel).catch(report)
  }

  close(): void {
    this.publisher.disconnect()
    this.subscriber.disconnect()
  }
}

function report(error: unknown): void {
  console.error(error)
}

/** Returns the URL of Redis that a baseline is started with. */
export function redisUrlFromArguments(): string {
  const url = process.argv[2]
  if (url === undefined) throw new Error('usage: <baseline> <redis-url>')
  return url
}

/** Returns the channel of `/ws/<channel>`; undefined for another path. */
export function channelOfPath(path: string): string | undefined {
  return /^\/ws\/([^/?]+)/.exec(path)?.[1]
}
