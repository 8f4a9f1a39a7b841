import type { IncomingMessage } from 'node:http'
import { type RawData, WebSocket } from 'ws'
import { closure, connectFailure, type Failure, refusal, seconds } from './lines.js'

/** Text that the server answers with `pong`, to this client alone. */
const PING = 'ping'
const PONG = Buffer.from('pong')

/** Bytes of the body of a response that refuses the handshake; the rest is not read. */
const MAX_BODY_BYTES = 4096

/** The purpose of the connection is fulfilled. RFC 6455 §7.4.1. */
const NORMAL_CLOSURE = 1000

export interface ConnectionTimings {
  pingIntervalMs: number
  pongTimeoutMs: number
  /** Time until the server has answered the handshake in full, whether it accepts or refuses. */
  handshakeTimeoutMs: number
  /** Time until the server has answered a close frame and ended the connection. */
  closeTimeoutMs: number
}

export interface ConnectionHandlers {
  opened(): void
  /** A message from the channel. A `pong` that answers a `ping` is not reported. */
  text(text: string): void
  binary(bytes: Buffer): void
}

/**
 * One connection of a monitor from the handshake to its end. Text `ping` and `pong` keep it alive and detect its loss.
 */
export class MonitorConnection {
  /** Resolves with what ended the connection; never rejects. */
  readonly ended: Promise<Failure>
  private readonly socket: WebSocket
  private readonly handshakeTimer: NodeJS.Timeout
  private pingTimer: NodeJS.Timeout | undefined
  private pongTimer: NodeJS.Timeout | undefined
  private wasOpen = false
  private error: Error | undefined
  private resolveEnded: (failure: Failure) => void = () => undefined
  /** Set while the body of a response that refuses the handshake arrives: ends with the part that has arrived. */
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
    // Not the socket's own handshakeTimeout, which starts again with every byte of a slow response.
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

  /** Sends a close frame; `ended` resolves when the server has answered it, or `closeTimeoutMs` has passed. */
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
    // A Buffer, since the socket's binaryType is left at nodebuffer.
    const bytes = data as Buffer
    if (isBinary) this.handlers.binary(bytes)
    else if (this.pongTimer !== undefined && bytes.equals(PONG)) this.pongReceived()
    else this.handlers.text(bytes.toString())
  }

  private pongReceived(): void {
    clearTimeout(this.pongTimer)
    this.pongTimer = undefined
  }

  private pongTimedOut(): void {
    // A close that is under way ends by itself, with a code and a reason.
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
    // An error means that the response was cut short; `close` follows it.
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
