import WebSocket from 'ws'

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
  ) {
    const created = (socket: WebSocket) => {
      this.socket = socket
      socket.once('open', () => this.opened())
    }
    this.websocket = class extends WebSocket {
      constructor(_url: string, protocols: string | string[]) {
        super(`${wsUrl()}/connection/websocket`, protocols)
        // A connection that is cut before it is open emits an error.
        this.on('error', () => undefined)
        created(this)
      }
    } as typeof WebSocket
  }

  /** Ends the connection without a close frame; the SDK reconnects by itself. */
  cut(): void {
    this.socket?.terminate()
  }
}
