import { CLOSES } from '../../protocol/closes.js'
import { findPort } from '../find-port.js'
import type {
  Acceptance,
  HttpRequest,
  HttpResponse,
  ListenOptions,
  Routes,
  Transport,
  TransportOptions,
  Verdict,
  WebSocketRoute,
} from '../transport.js'
import { CorkHolder } from './cork-holder.js'
import type { UwsApp, UwsBehavior, UwsListenSocket, UwsResponse, UwsSocketContext } from './library.js'
import { LISTEN, loadUws } from './load-uws.js'
import { answer, CopiedRequest, HttpServing } from './uws-http.js'
import { type UserData, UwsSocket } from './uws-socket.js'

const CONNECTION = Buffer.from('connection')
const NO_UPGRADE: HttpResponse = {
  status: 400,
  body: 'A WebSocket handshake needs the header Connection: Upgrade.\n',
}

/** Ports to try, where any will do: somebody else may take one between finding it free and listening on it. */
const MAX_FREE_PORTS = 10

export class UwsTransport implements Transport {
  private readonly uws = loadUws()
  private readonly app: UwsApp
  private readonly http: HttpServing
  private listenSocket: UwsListenSocket | undefined
  private corkHolder: CorkHolder | undefined
  /** Open TCP connections. */
  private sockets = 0

  constructor(private readonly options: TransportOptions) {
    const { tls } = options
    this.http = new HttpServing(options.onDefect)
    this.app =
      tls === undefined
        ? this.uws.App()
        : this.uws.SSLApp({
            cert_file_name: Buffer.from(tls.certPath),
            key_file_name: Buffer.from(tls.keyPath),
          })
    this.app.filter((response, change) => this.counted(response, Number(change)))
  }

  addRoutes({ webSockets, http }: Routes): void {
    for (const route of webSockets) this.app.ws(Buffer.from(route.path), this.behavior(route))
    for (const route of http) {
      this.app.any(Buffer.from(route.path), (response, request) => this.http.serve(route, response, request))
    }
  }

  async listen({ host, port: wanted, isShared = false }: ListenOptions): Promise<number> {
    // First, for it takes a port of its own.
    this.corkHolder ??= await CorkHolder.open(this.uws)
    const attempts = wanted === 0 ? MAX_FREE_PORTS : 1
    for (let attempt = 0; attempt < attempts; attempt++) {
      const port = isShared ? wanted : await findPort(host, wanted)
      this.listenSocket = await this.tryToListen(host, port, isShared)
      if (this.listenSocket !== undefined) return port
    }
    throw new Error(`cannot listen on ${host}:${wanted}`)
  }

  /** Undefined: it can't be listened on. */
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
    this.corkHolder?.close()
  }

  /** Refuses what descriptors would run out for: then the library spins a full core over what it can't accept. */
  private counted(response: UwsResponse, change: number): void {
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
      // Silence is judged by sessions: the library's timeout has a granularity of 4 s and closes without a reason.
      idleTimeout: 0,
      sendPingsAutomatically: false,
      compression: this.uws.DISABLED,
      upgrade: (response, request, context) => {
        if (!asksForUpgrade(request.getHeader(CONNECTION))) return answer(response, NO_UPGRADE, true)
        const copied = new CopiedRequest(request)
        try {
          this.decide(response, copied, context, route.handshake(copied))
        } catch (error) {
          onDefect(error)
          answer(response, { status: 500 }, true)
        }
      },
      open: (ws) => {
        const { socket } = ws.getUserData()
        try {
          socket.opened(ws)
        } catch (error) {
          this.failed(socket, error)
        }
      },
      message: (ws, data, isBinary) => {
        const { socket } = ws.getUserData()
        try {
          socket.handler.message(Buffer.from(data), isBinary)
        } catch (error) {
          this.failed(socket, error)
        }
      },
      ping: (ws) => ws.getUserData().socket.handler.alive(),
      pong: (ws) => ws.getUserData().socket.handler.alive(),
      dropped: (ws) => {
        const { socket } = ws.getUserData()
        // Touching a socket in this handler is a use after free, and a microtask still runs inside it.
        setImmediate(() => socket.handler.overflowed())
      },
      close: (ws, code, reason) => {
        // The library stops counting a connection when it becomes a WebSocket.
        this.sockets--
        try {
          ws.getUserData().socket.closed(code, Buffer.from(reason).toString())
        } catch (error) {
          onDefect(error)
        }
      },
    }
  }

  private decide(
    response: UwsResponse,
    request: CopiedRequest,
    context: UwsSocketContext,
    verdict: Verdict | Promise<Verdict>,
  ): void {
    if (!(verdict instanceof Promise)) {
      if ('refusal' in verdict) answer(response, verdict.refusal, true)
      else upgradeOrAbandon(response, request, context, verdict)
      return
    }
    let isAborted = false
    response.onAborted(() => {
      isAborted = true
    })
    const refuse = (refusal: HttpResponse): void => {
      if (!isAborted) response.cork(() => answer(response, refusal, true))
    }
    verdict.then(
      (decided) => {
        if ('refusal' in decided) return refuse(decided.refusal)
        if (isAborted) return decided.abandoned()
        this.corkHolder?.whileHeld(() => {
          response.cork(() => {
            try {
              upgradeOrAbandon(response, request, context, decided)
            } catch (error) {
              this.options.onDefect(error)
              answer(response, { status: 500 }, true)
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

  /** A defect in a callback must neither end the process nor leave the connection in an unknown state. */
  private failed(socket: UwsSocket, error: unknown): void {
    this.options.onDefect(error)
    socket.close(CLOSES.internalError)
  }
}

/** Throws what the upgrade throws, after the session has given back what it holds. */
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
 * Whether a `Connection` header asks for an upgrade, as RFC 6455 §4.2.1 wants. The library doesn't look, and crashes
 * when it upgrades a response later that the client has asked to `close` after.
 */
function asksForUpgrade(connection: string): boolean {
  return connection.split(',').some((option) => option.trim().toLowerCase() === 'upgrade')
}
