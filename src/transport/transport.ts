import type { Close } from '../protocol/closes.js'

/** A WebSocket connection's socket. Every method may be called at any time: on a closed one it does nothing. */
export interface Socket {
  /** Queues a frame behind what is queued already; text is UTF-8. */
  send(data: Uint8Array, isBinary: boolean): void
  /** A protocol ping; the answer comes as `pong`. */
  ping(): void
  /** Sends a close frame and ends; `closed` is called before this returns. */
  close(close: Close): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
  /** Publishes to everybody in the topic but this socket. */
  broadcastToOthers(topic: string, data: Uint8Array, isBinary: boolean): void
  /** Bytes that the client has left unread, beyond what the system buffers. */
  bufferedBytes(): number
}

/** What happens on a socket. Buffers given here live until the call returns. */
export interface SocketHandler {
  opened(socket: Socket): void
  message(data: Buffer, isBinary: boolean): void
  /** A ping or a pong: a sign of life without content. */
  alive(): void
  /** More is unread than the queue may hold, and something was not queued. May be called several times, also after `closed`. */
  overflowed(): void
  /** Once, after which the socket is gone. Code 1006: no close frame came. */
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

/** What becomes of a handshake that is let in. */
export interface Acceptance {
  readonly handler: SocketHandler
  readonly subprotocol: string
  /** Called instead of `opened` when the client went away while the verdict was being reached. */
  readonly abandoned: () => void
}

/** An answer to a handshake. */
export type Verdict = Acceptance | { readonly refusal: HttpResponse }

export interface WebSocketRoute {
  /** A path, or a prefix and `*`. */
  readonly path: string
  /** A message larger than this is cut while it arrives, without being buffered; the client sees 1006. */
  readonly maxFrameBytes: number
  /** Unread bytes a socket may have; further frames overflow. */
  readonly maxQueueBytes: number
  /** Decides on a handshake. What it returns takes effect in the same tick, or in the tick its promise resolves. */
  readonly handshake: (request: HttpRequest) => Verdict | Promise<Verdict>
}

export interface HttpRoute {
  /** A path, or a prefix and `*`. */
  readonly path: string
  /** A larger body is answered with 413 without being kept. */
  readonly maxBodyBytes: number
  /** Refuses a request without looking at its body, which is then not kept. */
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
  /** Publishes to everybody in the topic, in the order of the calls. */
  broadcast(topic: string, data: Uint8Array, isBinary: boolean): void
  /** Accepts no more; what is open stays open. */
  stopListening(): void
  /** From now on every HTTP answer ends its connection. Resolves when no request is being answered. */
  finishRequests(): Promise<void>
  /** Cuts everything that is still open. */
  close(): void
}

export interface Routes {
  readonly webSockets: readonly WebSocketRoute[]
  readonly http: readonly HttpRoute[]
}

export interface TransportOptions {
  /** TCP connections that may be open, those included that are not WebSockets yet; further ones are cut at once. */
  readonly maxSockets: number
  /** One was cut. */
  readonly onSocketRefused: () => void
  readonly tls: { readonly certPath: string; readonly keyPath: string } | undefined
  /** Somebody's callback threw: a defect; the connection or request it was about is ended. */
  readonly onDefect: (error: unknown) => void
}
