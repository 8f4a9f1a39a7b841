import type { Close } from '../protocol/closes.js'

/** A WebSocket connection's socket. Every method may be called at any time: on a closed one it does nothing. */
export interface Socket {
  /** Queues a frame behind what is queued already; text is UTF-8. */
  send(data: Uint8Array, isBinary: boolean): void
  /** Sends a protocol ping; `markAlive` reports the client's pong. */
  ping(): void
  /** Sends a close frame and ends; `closed` is called before this returns. */
  close(close: Close): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
  /** Sends a frame to every socket in the topic but this one. */
  broadcastToOthers(topic: string, data: Uint8Array, isBinary: boolean): void
  /** Bytes queued for the client, beyond those that the system buffers. */
  bufferedBytes(): number
}

/** Receives the events of a socket. Buffers are valid until the call returns. */
export interface SocketHandler {
  opened(socket: Socket): void
  message(data: Buffer, isBinary: boolean): void
  /** A ping or a pong: it shows that the client is alive, and carries no message. */
  markAlive(): void
  /** A frame was dropped, because the queue is full. May be called several times, also after `closed`. */
  overflowed(): void
  /** Called once, as the last event but `overflowed`. Code 1006: the connection ended without a close frame. */
  closed(code: number, reason: string): void
}

export interface HttpRequest {
  /** Upper case. */
  readonly method: string
  /** As sent, percent-encoded, without the query. */
  readonly path: string
  /** By lower-case name. */
  header(name: string): string | undefined
  queryParameter(name: string): string | undefined
}

export interface HttpRequestWithBody extends HttpRequest {
  readonly body: Buffer
}

export interface HttpResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as UTF-8, like the headers. */
  readonly body?: string
}

/** An accepted handshake. */
export interface Acceptance {
  readonly handler: SocketHandler
  readonly subprotocol: string
  /** Called instead of `opened` when the client disconnected before the decision, or when the upgrade failed. */
  readonly abandoned: () => void
}

/** Accepts or refuses a handshake. */
export type HandshakeDecision = Acceptance | { readonly refusal: HttpResponse }

export interface WebSocketRoute {
  /** A path, or a prefix and `*`. */
  readonly path: string
  /** A larger message ends the connection while it arrives, without being buffered; the client sees 1006. */
  readonly maxFrameBytes: number
  /** Bytes that may be queued for a socket; further frames are dropped and reported by `overflowed`. */
  readonly maxQueueBytes: number
  /** Decides on a handshake. The decision takes effect in the same tick, or in the tick its promise resolves. */
  readonly handshake: (request: HttpRequest) => HandshakeDecision | Promise<HandshakeDecision>
}

export interface HttpRoute {
  /** A path, or a prefix and `*`. */
  readonly path: string
  /** A larger body is answered with 413 without being buffered. */
  readonly maxBodyBytes: number
  /** Returns a response to refuse a request before its body is read, which is then not buffered. */
  readonly refuse?: (request: HttpRequest) => HttpResponse | undefined
  readonly handle: (request: HttpRequestWithBody) => HttpResponse | Promise<HttpResponse>
}

export interface ListenOptions {
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  /** Whether other processes may listen on the port too; each gets a part of the connections. Default: false. */
  readonly isShared?: boolean
}

/** A listener for WebSockets and HTTP. */
export interface Transport {
  /** Adds routes, before `listen`. Where several paths match, the most specific route handles the request. */
  addRoutes(routes: Routes): void
  /** Resolves with the port; rejects with a one-line message when the address can't be listened on. */
  listen(options: ListenOptions): Promise<number>
  /** Sends a frame to every socket in the topic, in the order of the calls. */
  broadcast(topic: string, data: Uint8Array, isBinary: boolean): void
  /** Accepts no more connections; open ones stay open. */
  stopListening(): void
  /** From now on every HTTP response ends its connection. Resolves when no request is being handled. */
  finishRequests(): Promise<void>
  /** Ends every connection that is still open, without a close frame. */
  close(): void
}

export interface Routes {
  readonly webSockets: readonly WebSocketRoute[]
  readonly http: readonly HttpRoute[]
}

export interface TransportOptions {
  /** TCP connections that may be open, including those that are not WebSockets yet; further ones are closed at once. */
  readonly maxSockets: number
  /** Called when a connection above `maxSockets` was closed. */
  readonly onSocketRefused: () => void
  readonly tls: { readonly certPath: string; readonly keyPath: string } | undefined
  /** Called with what a route's or handler's callback threw: a defect, which ends its connection or request. */
  readonly onDefect: (error: unknown) => void
}
