import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import WebSocket, { type ClientOptions } from 'ws'

export interface Frame {
  data: Buffer
  isBinary: boolean
}

/** A handshake that the server answered with another status than 101. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly headers: IncomingMessage['headers'],
    readonly body: string,
  ) {
    super(`refused with ${status}: ${body}`)
  }
}

export interface ConnectOptions extends ClientOptions {
  token?: string
  subprotocols?: string[]
}

/** A real WebSocket client that records its frames, and lets tests wait for them. */
export class RawClient {
  readonly frames: Frame[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  private read = 0
  private waiting: (() => void) | undefined

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, isBinary) => {
      this.frames.push({ data, isBinary })
      this.waiting?.()
    })
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  /** Rejects with Refused, or with the error of the connection. */
  static connect(url: string, { token, subprotocols = [], ...options }: ConnectOptions = {}) {
    const headers = { ...options.headers, ...(token !== undefined && { 'X-Auth-Token': token }) }
    const socket = new WebSocket(url, subprotocols, { ...options, headers })
    const client = new RawClient(socket)
    return new Promise<RawClient>((resolve, reject) => {
      socket.once('open', () => resolve(client))
      socket.on('error', reject)
      socket.once('unexpected-response', (_request, response) => {
        text(response).then((body) => {
          reject(new Refused(response.statusCode ?? 0, response.headers, body))
        }, reject)
      })
    })
  }

  send(data: string | Buffer): void {
    this.socket.send(data)
  }

  /** Resolves with the next frame that was not read yet. */
  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.frames[this.read]
      if (frame !== undefined) {
        this.read++
        return frame
      }
      await new Promise<void>((resolve, reject) => {
        this.waiting = resolve
        void this.closed.then(({ code }) =>
          reject(new Error(`closed with ${code} while waiting for a frame`)),
        )
      })
    }
  }

  async nextText(): Promise<string> {
    const { data, isBinary } = await this.next()
    if (isBinary) throw new Error('expected text, got binary')
    return data.toString()
  }

  /** Resolves with the texts of the next `count` frames. */
  async nextTexts(count: number): Promise<string[]> {
    const texts: string[] = []
    while (texts.length < count) texts.push(await this.nextText())
    return texts
  }

  close(code?: number, reason?: string): void {
    this.socket.close(code, reason)
  }
}

/** Resolves with the refusal of a handshake. Rejects when it was not refused. */
export async function refusalOf(connecting: Promise<RawClient>): Promise<Refused> {
  try {
    const client = await connecting
    client.close()
  } catch (error) {
    if (error instanceof Refused) return error
    throw error
  }
  throw new Error('the connection was not refused')
}
