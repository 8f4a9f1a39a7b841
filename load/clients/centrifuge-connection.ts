import { createSigner } from 'fast-jwt'
import { MESSAGE_BYTES } from './message.js'
import { RawConnection } from './raw-connection.js'
import type { ReadBuffer } from './read-buffer.js'
import type { Credentials } from './requests.js'

const NEWLINE = 0x0a
const QUOTE = 0x22
/** Both the server's ping and the client's pong. */
const PING = Buffer.from('{}')
/** Far more than any test takes. */
const TOKEN_LIFETIME = '1d'

export interface CentrifugeTarget {
  /** For example `ws://127.0.0.1:8000`. */
  url: string
  token: string
  /** Subscribed to in the same frame as the connect command. */
  channels: readonly string[]
}

export interface CentrifugeHandler {
  /**
   * A publication's data, without its quotes: `lengthBytes` bytes of the read buffer at `at`, valid until it returns.
   * Anything that is no push of a benchmark's message is passed whole, to be counted as malformed.
   */
  onPublication(at: number, lengthBytes: number): void
  /** The connection has ended; called once, and only after it was open. */
  onEnd(reason: string): void
}

let signer: ((claims: { sub: string }) => string) | undefined

/** A token (HS256) as an application would issue it. */
export function signToken({ hmacSecret }: Credentials, user: string): string {
  signer ??= createSigner({ key: hmacSecret, algorithm: 'HS256', expiresIn: TOKEN_LIFETIME })
  return signer({ sub: user })
}

/**
 * A client of the Centrifuge protocol (JSON) that uses as little CPU time as it can: it parses replies only while it
 * connects, and recognizes pushes by the bytes with which this server begins them. It answers pings.
 */
export class CentrifugeConnection {
  private readonly pushPrefixes: readonly Buffer[]
  private connection: RawConnection | undefined
  private publishedCount = 0

  private constructor(
    target: CentrifugeTarget,
    private readonly buffer: ReadBuffer,
    private readonly handler: CentrifugeHandler,
  ) {
    this.pushPrefixes = target.channels.map((channel) =>
      Buffer.from(`{"push":{"channel":${JSON.stringify(channel)},"pub":{"data":"`),
    )
  }

  /** Connects and subscribes; rejects with what the server answered instead. */
  static open(
    target: CentrifugeTarget,
    buffer: ReadBuffer,
    handler: CentrifugeHandler,
  ): Promise<CentrifugeConnection> {
    const client = new CentrifugeConnection(target, buffer, handler)
    return new Promise((resolve, reject) => {
      let pendingReplies = 1 + target.channels.length
      const onReplies = (text: string) => {
        const lines = text.split('\n').filter((line) => line.startsWith('{"id"'))
        const refused = lines.find((line) => line.includes('"error":'))
        if (refused !== undefined) reject(new Error(`refused: ${refused}`))
        pendingReplies -= lines.length
        if (pendingReplies === 0) resolve(client)
      }
      const raw = { url: `${target.url}/connection/websocket`, headers: {} }
      const opening = RawConnection.open(raw, buffer, {
        onPayload: (at, lengthBytes) => {
          if (pendingReplies > 0) onReplies(buffer.bytes.toString('latin1', at, at + lengthBytes))
          else client.read(at, at + lengthBytes)
        },
        onEnd: (reason) => {
          if (pendingReplies === 0) handler.onEnd(reason)
          else reject(new Error(reason))
        },
      })
      opening.then((connection) => {
        client.connection = connection
        connection.sendTexts([openingFrame(target)])
      }, reject)
    })
  }

  async close(): Promise<void> {
    await this.connection?.close()
  }

  /** Publishes messages, all in one frame, and ignores the replies. */
  publish(channel: string, messages: readonly Buffer[]): void {
    const commands = messages.map((message) => {
      this.publishedCount += 1
      // The first ids are those of the commands of the opening frame.
      const id = 1 + this.pushPrefixes.length + this.publishedCount
      const data = message.toString('latin1')
      return `{"id":${id},"publish":{"channel":${JSON.stringify(channel)},"data":"${data}"}}`
    })
    this.connection?.sendTexts([Buffer.from(commands.join('\n'))])
  }

  private read(start: number, end: number): void {
    const { view } = this.buffer
    let at = start
    while (at < end) {
      const dataAt = this.dataAt(at, end)
      // The search for the end of the line skips the data, which is most of the line.
      let lineEnd = dataAt === undefined ? at : dataAt + MESSAGE_BYTES
      while (lineEnd < end && view.getUint8(lineEnd) !== NEWLINE) lineEnd += 1
      this.receive(at, lineEnd, dataAt)
      at = lineEnd + 1
    }
  }

  private receive(at: number, end: number, dataAt: number | undefined): void {
    if (dataAt !== undefined) {
      const isWhole = this.buffer.view.getUint8(dataAt + MESSAGE_BYTES) === QUOTE
      this.handler.onPublication(dataAt, isWhole ? MESSAGE_BYTES : end - dataAt)
    } else if (end - at === PING.length) this.connection?.sendTexts([PING])
    else if (this.pushPrefixes.length > 0) this.handler.onPublication(at, end - at)
  }

  /** The index at which the data of a push begins; undefined for any other line. */
  private dataAt(at: number, end: number): number | undefined {
    for (const prefix of this.pushPrefixes) {
      const dataAt = at + prefix.length
      if (dataAt + MESSAGE_BYTES >= end) continue
      if (prefix.compare(this.buffer.bytes, at, dataAt) === 0) return dataAt
    }
    return undefined
  }
}

/** All commands in one frame, before the first reply, as the official SDKs send them. */
function openingFrame({ token, channels }: CentrifugeTarget): Buffer {
  const connect = JSON.stringify({ id: 1, connect: { token, name: 'load' } })
  const subscribes = channels.map((channel, index) =>
    JSON.stringify({ id: 2 + index, subscribe: { channel } }),
  )
  return Buffer.from([connect, ...subscribes].join('\n'))
}
