import type { IncomingMessage } from 'node:http'
import { type RawData, WebSocket } from 'ws'
import { closure, connectFailure, type Failure, refusal, seconds } from './lines.js'

/** Text that asks the server for `pong`; the server answers it to this client alone. */
const PING = 'ping'
const PONG = Buffer.from('pong')

/** Of the body of an answer that refuses the handshake; the rest is not read. */
const MAX_BODY_BYTES = 4096

/** RFC 6455 7.4.1: the purpose of the connection is fulfilled. */
const NORMAL_CLOSURE = 1000

export interface ConnectionTimings {
  pingIntervalMs: number
  pongTimeoutMs: number
  /** Until the server has answered in full, whether it accepts or not. */
  handshakeTimeoutMs: number
  /** Until the other side has answered a close frame and hung up. */
  closeTimeoutMs: number
}

export interface ConnectionHandlers {
  opened(): void
  /** A message from the channel; the `pong` that answers a `ping` is none. */
  text(text: string): void
  binary(bytes: Buffer): void
}

/** One connection of a monitor from the handshake to its end, kept alive and judged by text `ping` and `pong`. */
export class MonitorConnection {
  /** What ended it; never rejects. */
  readonly ended: Promise<Failure>
  private readonly socket: WebSocket
  private readonly handshakeTimer: NodeJS.Timeout
  private pingTimer: NodeJS.Timeout | undefined
  private pongTimer: NodeJS.Timeout | undefined
  private wasOpen = false
  private error: Error | undefined
  private resolveEnded: (failure: Failure) => void = () => undefined
  /** Set while the body of an answer that refuses the handshake arrives: makes do with what there is of it. */
  private endRefused: (() => void) | undefined

  constructor(
    address: URL,
    headers: Record<string, string>,
    private readonly timings: ConnectionTimings,
    private readonly handlers: ConnectionHandlers,
  ) {
    this.ended = new Promise((resolve) => {
      this.resolveEnded = resolve
    })
    const options = { headers, perMessageDeflate: false, closeTimeout: timings.closeTimeoutMs }
    this.socket = new WebSocket(address, options)
    // Not the socket's own handshakeTimeout, which starts again with every byte of a slow answer.
    this.handshakeTimer = setTimeout(() => this.handshakeTimedOut(), timings.handshakeTimeoutMs)
    this.socket.on('open', () => this.opened())
    this.socket.on('message', (data, isBinary) => this.received(data, isBinary))
    this.socket.on('unexpected-response', (_request, response) => this.refused(response))
    this.socket.on('error', (error) => {
      this.error ??= error
    })
    this.socket.on('close', (code, reason) => this.closed(code, reason.toString()))
  }

  send(data: string | Buffer): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data)
  }

  /** Says goodbye to the server; `ended` resolves when it has answered, or took too long. */
  close(): void {
    if (this.wasOpen) this.socket.close(NORMAL_CLOSURE)
    else this.socket.terminate()
  }

  private opened(): void {
    clearTimeout(this.handshakeTimer)
    this.wasOpen = true
    this.pingTimer = setInterval(() => this.ping(), this.timings.pingIntervalMs)
    this.handlers.opened()
  }

  private ping(): void {
    if (this.pongTimer !== undefined) return
    this.send(PING)
    this.pongTimer = setTimeout(() => this.pongTimedOut(), this.timings.pongTimeoutMs)
  }

  private received(data: RawData, isBinary: boolean): void {
    // The socket's binaryType is left at nodebuffer, so this is what arrives.
    const bytes = data as Buffer
    if (isBinary) this.handlers.binary(bytes)
    else if (this.pongTimer !== undefined && bytes.equals(PONG)) this.ponged()
    else this.handlers.text(bytes.toString())
  }

  private ponged(): void {
    clearTimeout(this.pongTimer)
    this.pongTimer = undefined
  }

  private pongTimedOut(): void {
    // A close that is under way ends by itself, and tells more.
    if (this.socket.readyState !== WebSocket.OPEN) return
    this.giveUp({ name: `timed out: no pong within ${seconds(this.timings.pongTimeoutMs)}` })
  }

  private handshakeTimedOut(): void {
    if (this.endRefused !== undefined) {
      this.endRefused()
      return
    }
    const within = seconds(this.timings.handshakeTimeoutMs)
    this.giveUp({ name: `timed out: no answer to the handshake within ${within}` })
  }

  private refused(response: IncomingMessage): void {
    const parts: Buffer[] = []
    let length = 0
    const done = () => {
      const body = Buffer.concat(parts).subarray(0, MAX_BODY_BYTES).toString()
      this.giveUp(refusal(response.statusCode ?? 0, body))
    }
    this.endRefused = done
    response.on('data', (part: Buffer) => {
      parts.push(part)
      length += part.length
      if (length >= MAX_BODY_BYTES) done()
    })
    // An error is an answer that was cut short; either way it is over.
    response.on('error', () => undefined)
    response.once('close', done)
  }

  private closed(code: number, reason: string): void {
    if (!this.wasOpen && this.error !== undefined) this.end(connectFailure(this.error))
    else this.end(closure(code, reason, this.error))
  }

  private giveUp(failure: Failure): void {
    this.end(failure)
    this.socket.terminate()
  }

  private end(failure: Failure): void {
    clearTimeout(this.handshakeTimer)
    clearInterval(this.pingTimer)
    clearTimeout(this.pongTimer)
    this.resolveEnded(failure)
  }
}
