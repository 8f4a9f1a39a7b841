import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { MAX_UNREAD_BYTES, type ReadBuffer } from './read-buffer.js'

/** RFC 6455, section 1.3. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

const OPCODE_TEXT = 1
const OPCODE_CLOSE = 8
const OPCODE_PING = 9
const OPCODE_PONG = 10

export interface Target {
  /** For example `ws://127.0.0.1:8000/ws/channel`. */
  url: string
  headers: Record<string, string>
}

export interface ConnectionHandler {
  /** A data frame's payload: `lengthBytes` bytes of the read buffer at `at`, valid until it returns. */
  onPayload(at: number, lengthBytes: number): void
  /** The connection has ended; called once, and only after it was open. */
  onEnd(reason: string): void
}

/**
 * A WebSocket client that uses as little CPU time as it can: no event emitters above the socket, one shared read buffer,
 * unfragmented frames, masks of zero (which the server unmasks at the same cost). It answers pings.
 */
export class RawConnection {
  private unread: Buffer | undefined
  private isOpen = false
  private endReason = 'connection lost'

  private constructor(
    private readonly socket: Socket,
    private readonly buffer: ReadBuffer,
    private readonly handler: ConnectionHandler,
  ) {}

  /** Connects and shakes hands; rejects with what the server answered instead. */
  static open(target: Target, buffer: ReadBuffer, handler: ConnectionHandler): Promise<RawConnection> {
    const { hostname, port, pathname, host } = new URL(target.url)
    const key = randomBytes(16).toString('base64')
    return new Promise((resolve, reject) => {
      const socket = connect({
        host: hostname,
        port: Number(port),
        noDelay: true,
        onread: {
          buffer: buffer.readTarget,
          callback: (lengthBytes) => {
            if (connection.isOpen) connection.read(lengthBytes)
            else if (connection.shakeHands(lengthBytes, key, reject)) resolve(connection)
            return true
          },
        },
      })
      const connection = new RawConnection(socket, buffer, handler)
      socket.once('connect', () => socket.write(handshake(pathname, host, key, target.headers)))
      socket.once('error', (error) => {
        connection.endReason = error.message
        reject(error)
      })
      socket.once('close', () => {
        reject(new Error('closed during the handshake'))
        if (connection.isOpen) handler.onEnd(connection.endReason)
      })
    })
  }

  /** Sends text frames, all in one write. */
  sendTexts(payloads: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(payloads.map((payload) => clientFrame(OPCODE_TEXT, payload))))
  }

  /**
   * Resets the connection: no close frame, and no port that stays in use for a minute (TIME_WAIT). Resolves when the
   * socket is closed.
   */
  close(): Promise<void> {
    if (this.socket.closed) return Promise.resolve()
    return new Promise((resolve) => {
      this.socket.once('close', () => resolve())
      this.socket.resetAndDestroy()
    })
  }

  private shakeHands(lengthBytes: number, key: string, reject: (error: Error) => void): boolean {
    const { bytes } = this.buffer
    const start = this.buffer.prepend(this.unread)
    const end = MAX_UNREAD_BYTES + lengthBytes
    const headEnd = bytes.subarray(start, end).indexOf('\r\n\r\n')
    if (headEnd === -1) {
      this.keepUnread(start, end)
      return false
    }
    const head = bytes.toString('latin1', start, start + headEnd)
    const accept = createHash('sha1')
      .update(key + ACCEPT_GUID)
      .digest('base64')
    if (!head.startsWith('HTTP/1.1 101') || !head.includes(accept)) {
      reject(new Error(`not upgraded: ${head.split('\r\n', 1)[0]}`))
      this.socket.destroy()
      return false
    }
    this.unread = undefined
    this.isOpen = true
    this.readFrames(start + headEnd + 4, end)
    return true
  }

  private read(lengthBytes: number): void {
    const start = this.buffer.prepend(this.unread)
    this.unread = undefined
    this.readFrames(start, MAX_UNREAD_BYTES + lengthBytes)
  }

  private readFrames(start: number, end: number): void {
    const { view } = this.buffer
    let at = start
    while (at + 2 <= end) {
      let payloadAt = at + 2
      let lengthBytes = view.getUint8(at + 1)
      if (lengthBytes === 126) {
        payloadAt = at + 4
        if (payloadAt > end) break
        lengthBytes = view.getUint16(at + 2)
      } else if (lengthBytes === 127) {
        payloadAt = at + 10
        if (payloadAt > end) break
        lengthBytes = view.getUint32(at + 6)
      }
      if (payloadAt + lengthBytes > end) break
      const opcode = view.getUint8(at) & 15
      if (opcode < OPCODE_CLOSE) this.handler.onPayload(payloadAt, lengthBytes)
      else this.readControlFrame(opcode, payloadAt, lengthBytes)
      at = payloadAt + lengthBytes
    }
    if (at < end) this.keepUnread(at, end)
  }

  private readControlFrame(opcode: number, at: number, lengthBytes: number): void {
    const payload = Buffer.from(this.buffer.bytes.subarray(at, at + lengthBytes))
    if (opcode === OPCODE_PING) this.socket.write(clientFrame(OPCODE_PONG, payload))
    if (opcode !== OPCODE_CLOSE) return
    const code = payload.length < 2 ? 1005 : payload.readUInt16BE(0)
    this.endReason = `closed by the server: ${code} ${payload.toString('utf8', 2)}`.trimEnd()
    this.socket.end(clientFrame(OPCODE_CLOSE, payload.subarray(0, 2)))
  }

  private keepUnread(start: number, end: number): void {
    if (end - start > MAX_UNREAD_BYTES) this.fail(`a frame of more than ${MAX_UNREAD_BYTES} bytes`)
    else this.unread = Buffer.from(this.buffer.bytes.subarray(start, end))
  }

  private fail(reason: string): void {
    this.endReason = reason
    this.socket.destroy()
  }
}

function handshake(path: string, host: string, key: string, headers: Record<string, string>): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${key}`,
    'Sec-WebSocket-Version: 13',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** An unfragmented frame with a mask of zero, for payloads of up to 64 KiB. */
function clientFrame(opcode: number, payload: Buffer): Buffer {
  const header =
    payload.length < 126 ? [payload.length | 0x80] : [126 | 0x80, payload.length >> 8, payload.length & 255]
  return Buffer.concat([Buffer.from([opcode | 0x80, ...header, 0, 0, 0, 0]), payload])
}
