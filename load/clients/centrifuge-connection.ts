import { createSigner } from 'fast-jwt'
import { MESSAGE_BYTES } from './message.js'
import { RawConnection } from './raw-connection.js'
import type { Access } from './requests.js'
import type { Scratch } from './scratch.js'

const NEWLINE = 0x0a
const QUOTE = 0x22
/** Both the server's ping and the answer to it. */
const PING = Buffer.from('{}')
/** Far more than any test takes. */
const TOKEN_LIFETIME = '1d'

export interface CentrifugeTarget {
  /** For example `ws://127.0.0.1:8000`. */
  url: string
  token: string
  /** What to subscribe to, in the frame that connects. */
  channels: readonly string[]
}

export interface CentrifugeListener {
  /**
   * A publication's data, without its quotes: `lengthBytes` bytes of the scratch at `at`, valid until it returns.
   * Anything that is no push of one of our messages is handed on whole, to be counted as malformed.
   */
  onPublication(at: number, lengthBytes: number): void
  /** The connection is over; called once, and only after it was open. */
  onEnd(why: string): void
}

let signer: ((claims: { sub: string }) => string) | undefined

/** A token (HS256) as an application would issue it. */
export function signToken({ hmacSecret }: Access, user: string): string {
  signer ??= createSigner({ key: hmacSecret, algorithm: 'HS256', expiresIn: TOKEN_LIFETIME })
  return signer({ sub: user })
}

/**
 * A client of the Centrifuge protocol (JSON) that costs a benchmark as little as it can: it reads replies once, while
 * it connects, and takes pushes to begin as this server writes them. It answers pings.
 */
export class CentrifugeConnection {
  private readonly openings: readonly Buffer[]
  private connection: RawConnection | undefined
  private publications = 0

  private constructor(
    target: CentrifugeTarget,
    private readonly scratch: Scratch,
    private readonly listener: CentrifugeListener,
  ) {
    this.openings = target.channels.map((channel) =>
      Buffer.from(`{"push":{"channel":${JSON.stringify(channel)},"pub":{"data":"`),
    )
  }

  /** Connects and subscribes; rejects with what the server answered instead. */
  static open(
    target: CentrifugeTarget,
    scratch: Scratch,
    listener: CentrifugeListener,
  ): Promise<CentrifugeConnection> {
    const client = new CentrifugeConnection(target, scratch, listener)
    return new Promise((resolve, reject) => {
      let missing = 1 + target.channels.length
      const onReplies = (text: string) => {
        const lines = text.split('\n').filter((line) => line.startsWith('{"id"'))
        const refused = lines.find((line) => line.includes('"error":'))
        if (refused !== undefined) reject(new Error(`refused: ${refused}`))
        missing -= lines.length
        if (missing === 0) resolve(client)
      }
      const raw = { url: `${target.url}/connection/websocket`, headers: {} }
      const opening = RawConnection.open(raw, scratch, {
        onPayload: (at, lengthBytes) => {
          if (missing > 0) onReplies(scratch.bytes.toString('latin1', at, at + lengthBytes))
          else client.read(at, at + lengthBytes)
        },
        onEnd: (why) => {
          if (missing === 0) listener.onEnd(why)
          else reject(new Error(why))
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

  /** Publishes messages of ours, all in one frame; whether it was done is not looked at. */
  publish(channel: string, messages: readonly Buffer[]): void {
    const commands = messages.map((message) => {
      this.publications += 1
      // The opening frame took the ids below.
      const id = 1 + this.openings.length + this.publications
      const data = message.toString('latin1')
      return `{"id":${id},"publish":{"channel":${JSON.stringify(channel)},"data":"${data}"}}`
    })
    this.connection?.sendTexts([Buffer.from(commands.join('\n'))])
  }

  private read(start: number, end: number): void {
    const { view } = this.scratch
    let at = start
    while (at < end) {
      const dataAt = this.dataAt(at, end)
      // The search for the end of the line may begin behind the data, which takes most of it.
      let lineEnd = dataAt === undefined ? at : dataAt + MESSAGE_BYTES
      while (lineEnd < end && view.getUint8(lineEnd) !== NEWLINE) lineEnd += 1
      this.receive(at, lineEnd, dataAt)
      at = lineEnd + 1
    }
  }

  private receive(at: number, end: number, dataAt: number | undefined): void {
    if (dataAt !== undefined) {
      const isWhole = this.scratch.view.getUint8(dataAt + MESSAGE_BYTES) === QUOTE
      this.listener.onPublication(dataAt, isWhole ? MESSAGE_BYTES : end - dataAt)
    } else if (end - at === PING.length) this.connection?.sendTexts([PING])
    else if (this.openings.length > 0) this.listener.onPublication(at, end - at)
  }

  /** Where the data of a push begins; undefined for whatever else a line is. */
  private dataAt(at: number, end: number): number | undefined {
    for (const opening of this.openings) {
      const dataAt = at + opening.length
      if (dataAt + MESSAGE_BYTES >= end) continue
      if (opening.compare(this.scratch.bytes, at, dataAt) === 0) return dataAt
    }
    return undefined
  }
}

/** As the official SDKs send it: everything at once, before the first answer. */
function openingFrame({ token, channels }: CentrifugeTarget): Buffer {
  const connect = JSON.stringify({ id: 1, connect: { token, name: 'load' } })
  const subscribes = channels.map((channel, index) =>
    JSON.stringify({ id: 2 + index, subscribe: { channel } }),
  )
  return Buffer.from([connect, ...subscribes].join('\n'))
}
