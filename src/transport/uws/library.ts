import type * as Uws from 'uWebSockets.js'

// The part of uWebSockets.js that is used here, with bytes where the library takes strings too. How it encodes a string
// depends on the binary: that for Node 24 and 25 writes characters up to ÿ as Latin-1, in some functions and not in
// others. Then a text frame with an é is not UTF-8, and a publication to a topic with an é does not reach the topic's
// subscribers. Bytes are never encoded again.

export type UwsListenSocket = Uws.us_listen_socket
export type UwsSocketContext = Uws.us_socket_context_t

export interface UwsWebSocket<UserData> {
  getUserData(): UserData
  getBufferedAmount(): number
  send(data: Uint8Array, isBinary: boolean): unknown
  ping(): unknown
  end(code: number, reason: Uint8Array): void
  subscribe(topic: Uint8Array): boolean
  unsubscribe(topic: Uint8Array): boolean
  publish(topic: Uint8Array, data: Uint8Array, isBinary: boolean): boolean
  cork(callback: () => void): unknown
}

export interface UwsRequest {
  getMethod(): string
  getUrl(): string
  getQuery(): string
  getHeader(name: Uint8Array): string
  forEach(callback: (name: string, value: string) => void): void
}

export interface UwsResponse {
  writeStatus(status: Uint8Array): unknown
  writeHeader(name: Uint8Array, value: Uint8Array): unknown
  end(body: Uint8Array, closeConnection: boolean): unknown
  close(): unknown
  cork(callback: () => void): unknown
  onAborted(callback: () => void): unknown
  onData(callback: (chunk: ArrayBuffer, isLast: boolean) => void): unknown
  upgrade<UserData>(
    userData: UserData,
    key: Uint8Array,
    subprotocol: Uint8Array,
    extensions: Uint8Array,
    context: UwsSocketContext,
  ): void
}

export interface UwsBehavior<UserData> {
  readonly maxPayloadLength?: number
  readonly maxBackpressure?: number
  readonly idleTimeout: number
  readonly sendPingsAutomatically: boolean
  readonly compression?: Uws.CompressOptions
  upgrade?(response: UwsResponse, request: UwsRequest, context: UwsSocketContext): void
  open(ws: UwsWebSocket<UserData>): void
  message?(ws: UwsWebSocket<UserData>, data: ArrayBuffer, isBinary: boolean): void
  ping?(ws: UwsWebSocket<UserData>): void
  pong?(ws: UwsWebSocket<UserData>): void
  dropped?(ws: UwsWebSocket<UserData>): void
  close?(ws: UwsWebSocket<UserData>, code: number, reason: ArrayBuffer): void
}

export interface UwsApp {
  filter(callback: (response: UwsResponse, change: unknown) => void): unknown
  any(pattern: Uint8Array, handler: (response: UwsResponse, request: UwsRequest) => void): unknown
  ws<UserData>(pattern: Uint8Array, behavior: UwsBehavior<UserData>): unknown
  listen(
    host: Uint8Array,
    port: number,
    options: Uws.ListenOptions,
    listening: (listenSocket: UwsListenSocket | false) => void,
  ): unknown
  publish(topic: Uint8Array, data: Uint8Array, isBinary: boolean): boolean
  close(): unknown
}

export interface UwsTlsOptions {
  readonly cert_file_name: Uint8Array
  readonly key_file_name: Uint8Array
}

export interface UwsLibrary {
  App(): UwsApp
  SSLApp(options: UwsTlsOptions): UwsApp
  us_listen_socket_close(listenSocket: UwsListenSocket): void
  us_socket_local_port(listenSocket: UwsListenSocket): number
  readonly DISABLED: Uws.CompressOptions
}
