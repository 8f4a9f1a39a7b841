import WebSocket from 'ws'

/** A node that is frozen accepts connections, and answers no handshake. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** Is told of everything that passes a link, before the SDK is. */
export interface LinkObserver {
  /** A connection begins, which leads to this `ws://host:port`. */
  connecting(wsUrl: string): void
  sent(text: string): void
  received(text: string): void
  closed(): void
}

/** The network link of one SDK client: tests can cut it without a close frame and lead the next connection elsewhere. */
export class SdkLink {
  /** The class that the SDK opens its connections with. */
  readonly websocket: typeof WebSocket
  /** Called when a connection has opened. */
  opened: () => void = () => undefined
  private socket: WebSocket | undefined

  constructor(
    /** Returns the `ws://host:port` of the next connection, which replaces the URL that the SDK was given. */
    wsUrl: () => string,
    observer?: LinkObserver,
  ) {
    const created = (socket: WebSocket) => {
      this.socket = socket
      socket.once('open', () => this.opened())
    }
    // Connections that the SDK has closed, or that have ended: what they still receive is for nobody.
    const over = new WeakSet<WebSocket>()
    const end = (socket: WebSocket) => {
      if (!over.has(socket)) observer?.closed()
      over.add(socket)
    }
    this.websocket = class extends WebSocket {
      constructor(_url: string, protocols: string | string[]) {
        const url = wsUrl()
        super(`${url}/connection/websocket`, protocols, { handshakeTimeout: HANDSHAKE_TIMEOUT_MS })
        // A connection that is cut before it is open emits an error.
        this.on('error', () => undefined)
        created(this)
        if (observer === undefined) return
        observer.connecting(url)
        this.on('message', (data: Buffer) => {
          if (!over.has(this)) observer.received(data.toString())
        })
        this.on('close', () => end(this))
      }

      override send(data: string): void {
        observer?.sent(data)
        super.send(data)
      }

      override close(code?: number, data?: string): void {
        end(this)
        super.close(code, data)
      }
    } as typeof WebSocket
  }

  /** Ends the connection without a close frame; the SDK reconnects by itself. */
  cut(): void {
    this.socket?.terminate()
  }
  /** Leaves what the node sends unread until `resume`. */
  pause(): void {
    this.socket?.pause()
  }

  resume(): void {
    this.socket?.resume()
  }
}
