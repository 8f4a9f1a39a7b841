import type { Close } from '../../protocol/closes.js'
import type { Socket, SocketHandler } from '../transport.js'
import type { UwsWebSocket } from './library.js'

/** The data that uWebSockets.js stores with each socket. */
export interface UserData {
  readonly socket: UwsSocket
}

/** A socket that may be used after its close, when every method of the uWebSockets.js socket would throw. */
export class UwsSocket implements Socket {
  private ws: UwsWebSocket<UserData> | undefined

  constructor(readonly handler: SocketHandler) {}

  opened(ws: UwsWebSocket<UserData>): void {
    this.ws = ws
    this.handler.opened(this)
  }

  closed(code: number, reason: string): void {
    this.ws = undefined
    this.handler.closed(code, reason)
  }

  send(data: Uint8Array, isBinary: boolean): void {
    this.ws?.send(data, isBinary)
  }

  ping(): void {
    this.ws?.ping()
  }

  close({ code, reason }: Close): void {
    this.ws?.end(code, Buffer.from(reason))
  }

  subscribe(topic: string): void {
    this.ws?.subscribe(Buffer.from(topic))
  }

  unsubscribe(topic: string): void {
    this.ws?.unsubscribe(Buffer.from(topic))
  }

  broadcastToOthers(topic: string, data: Uint8Array, isBinary: boolean): void {
    this.ws?.publish(Buffer.from(topic), data, isBinary)
  }

  bufferedBytes(): number {
    return this.ws?.getBufferedAmount() ?? 0
  }
}
