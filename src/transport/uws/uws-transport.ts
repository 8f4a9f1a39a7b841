import { CLOSES } from '../../protocol/closes.js'
import { findPort } from '../find-port.js'
import type {
  Acceptance,
  HandshakeDecision,
  HttpRequest,
  HttpResponse,
  ListenOptions,
  Routes,
  Transport,
  TransportOptions,
  WebSocketRoute,
} from '../transport.js'
import { CorkBlocker } from './cork-blocker.js'
import type { UwsApp, UwsBehavior, UwsListenSocket, UwsResponse, UwsSocketContext } from './library.js'
import { LISTEN, loadUws } from './load-uws.js'
import { CopiedRequest, HttpRequestHandler, writeResponse } from './uws-http.js'
import { type UserData, UwsSocket } from './uws-socket.js'

const CONNECTION = Buffer.from('connection')
const NO_UPGRADE: HttpResponse = {
  status: 400,
  body: 'A WebSocket handshake needs the header Connection: Upgrade.\n',
}

/** Attempts to listen on a free port: another process may take it between finding it free and listening on it. */
const MAX_FREE_PORTS = 10

export class UwsTransport implements Transport {
  private readonly uws = loadUws()
  private readonly app: UwsApp
  private readonly http: HttpRequestHandler
  private listenSocket: UwsListenSocket | undefined
  private corkBlocker: CorkBlocker | undefined
  /** Open TCP connections. */
  private sockets = 0

  constructor(private readonly options: TransportOptions) {
    const { tls } = options
    this.http = new HttpRequestHandler(options.onDefect)
    this.app =
      tls === undefined
        ? this.uws.App()
        : this.uws.SSLApp({
            cert_file_name: Buffer.from(tls.certPath),
            key_file_name: Buffer.from(tls.keyPath),
          })
    this.app.filter((response, change) => this.countSocket(response, Number(change)))
  }

  addRoutes({ webSockets, http }: Routes): void {
    for (const route of webSockets) this.app.ws(Buffer.from(route.path), this.behavior(route))
    for (const route of http) {
      this.app.any(Buffer.from(route.path), (response, request) => this.http.serve(route, response, request))
    }
  }

  async listen({ host, port: wanted, isShared = false }: ListenOptions): Promise<number> {
    // Opened first, since it listens on a port of its own, which must not be the one found free below.
    this.corkBlocker ??= await CorkBlocker.open(this.uws)
    const attempts = wanted === 0 ? MAX_FREE_PORTS : 1
    for (let attempt = 0; attempt < attempts; attempt++) {
      const port = isShared ? wanted : await findPort(host, wanted)
      this.listenSocket = await this.tryToListen(host, port, isShared)
      if (this.listenSocket !== undefined) return port
    }
    throw new Error(`cannot listen on ${host}:${wanted}`)
  }

  /** Resolves with undefined where the port can't be listened on. */
  private tryToListen(host: string, port: number, isShared: boolean): Promise<UwsListenSocket | undefined> {
    const option = isShared ? LISTEN.shared : LISTEN.exclusive
    return new Promise((resolve) => {
      this.app.listen(Buffer.from(host), port, option, (socket) =>
        resolve(socket === false ? undefined : socket),
      )
    })
  }

  broadcast(topic: string, data: Uint8Array, isBinary: boolean): void {
    this.app.publish(Buffer.from(topic), data, isBinary)
  }

  stopListening(): void {
    if (this.listenSocket === undefined) return
    this.uws.us_listen_socket_close(this.listenSocket)
    this.listenSocket = undefined
  }

  finishRequests(): Promise<void> {
    return this.http.finish()
  }

  close(): void {
    this.listenSocket = undefined
    this.app.close()
    this.corkBlocker?.close()
  }

  /**
   * Closes connections above the limit. Without file descriptors for them the library would use a full core in trying
   * to accept them.
   */
  private countSocket(response: UwsResponse, change: number): void {
    this.sockets += change
    if (change < 0 || this.sockets <= this.options.maxSockets) return
    response.close()
    this.options.onSocketRefused()
  }

  private behavior(route: WebSocketRoute): UwsBehavior<UserData> {
    const { onDefect } = this.options
    return {
      maxPayloadLength: route.maxFrameBytes,
      maxBackpressure: route.maxQueueBytes,
      // Sessions have a heartbeat of their own: the library's timeout has a granularity of 4 s and gives no reason.
      idleTimeout: 0,
      sendPingsAutomatically: false,
      compression: this.uws.DISABLED,
      upgrade: (response, request, context) => {
        if (!asksForUpgrade(request.getHeader(CONNECTION))) return writeResponse(response, NO_UPGRADE, true)
        const copied = new CopiedRequest(request)
        try {
          this.applyDecision(response, copied, context, route.handshake(copied))
        } catch (error) {
          onDefect(error)
          writeResponse(response, { status: 500 }, true)
        }
      },
      open: (ws) => {
        const { socket } = ws.getUserData()
        try {
          socket.opened(ws)
        } catch (error) {
          this.closeAfterDefect(socket, error)
        }
      },
      message: (ws, data, isBinary) => {
        const { socket } = ws.getUserData()
        try {
          socket.handler.message(Buffer.from(data), isBinary)
        } catch (error) {
          this.closeAfterDefect(socket, error)
        }
      },
      ping: (ws) => ws.getUserData().socket.handler.markAlive(),
      pong: (ws) => ws.getUserData().socket.handler.markAlive(),
      dropped: (ws) => {
        const { socket } = ws.getUserData()
        // Using a socket in this handler is a use after free, and a microtask still runs inside the handler.
        setImmediate(() => socket.handler.overflowed())
      },
      close: (ws, code, reason) => {
        // The filter above does not report the end of a connection that has become a WebSocket.
        this.sockets--
        try {
          ws.getUserData().socket.closed(code, Buffer.from(reason).toString())
        } catch (error) {
          onDefect(error)
        }
      },
    }
  }

  /** Upgrades or refuses the request, at once or when the decision's promise has resolved. */
  private applyDecision(
    response: UwsResponse,
    request: CopiedRequest,
    context: UwsSocketContext,
    decision: HandshakeDecision | Promise<HandshakeDecision>,
  ): void {
    if (!(decision instanceof Promise)) {
      if ('refusal' in decision) writeResponse(response, decision.refusal, true)
      else upgradeOrAbandon(response, request, context, decision)
      return
    }
    let isAborted = false
    response.onAborted(() => {
      isAborted = true
    })
    const refuse = (refusal: HttpResponse): void => {
      if (!isAborted) response.cork(() => writeResponse(response, refusal, true))
    }
    decision.then(
      (decided) => {
        if ('refusal' in decided) return refuse(decided.refusal)
        if (isAborted) return decided.abandoned()
        this.corkBlocker?.runUncorked(() => {
          response.cork(() => {
            try {
              upgradeOrAbandon(response, request, context, decided)
            } catch (error) {
              this.options.onDefect(error)
              writeResponse(response, { status: 500 }, true)
            }
          })
        })
      },
      (error: unknown) => {
        this.options.onDefect(error)
        refuse({ status: 500 })
      },
    )
  }

  /** A defect in a callback must neither end the process nor leave a session in an unknown state. */
  private closeAfterDefect(socket: UwsSocket, error: unknown): void {
    this.options.onDefect(error)
    socket.close(CLOSES.internalError)
  }
}

/** Upgrades the request. Throws what the upgrade throws, after `abandoned` has released what the session acquired. */
function upgradeOrAbandon(
  response: UwsResponse,
  request: HttpRequest,
  context: UwsSocketContext,
  acceptance: Acceptance,
): void {
  try {
    upgrade(response, request, context, acceptance)
  } catch (error) {
    acceptance.abandoned()
    throw error
  }
}

function upgrade(
  response: UwsResponse,
  request: HttpRequest,
  context: UwsSocketContext,
  { handler, subprotocol }: Acceptance,
): void {
  response.upgrade<UserData>(
    { socket: new UwsSocket(handler) },
    Buffer.from(request.header('sec-websocket-key') ?? ''),
    Buffer.from(subprotocol),
    Buffer.from(request.header('sec-websocket-extensions') ?? ''),
    context,
  )
}

/**
 * Whether a `Connection` header asks for an upgrade, as RFC 6455 §4.2.1 requires. The library does not check it, and
 * crashes when it upgrades a response after the handler has returned whose request asks for `close`.
 */
function asksForUpgrade(connection: string): boolean {
  return connection.split(',').some((option) => option.trim().toLowerCase() === 'upgrade')
}
