import WebSocket from 'ws'

/** The way of one SDK client to the nodes: can be cut from below, as when a network fails, and leads elsewhere next time. */
export class SdkLine {
  /** The class that the SDK makes its connections with. */
  readonly websocket: typeof WebSocket
  /** Called when a connection is there. */
  opened: () => void = () => undefined
  private socket: WebSocket | undefined

  constructor(
    /** Gives `ws://host:port` for every connection anew; whatever URL the SDK has is not used. */
    wsUrl: () => string,
  ) {
    const made = (socket: WebSocket) => {
      this.socket = socket
      socket.once('open', () => this.opened())
    }
    this.websocket = class extends WebSocket {
      constructor(_url: string, protocols: string | string[]) {
        super(`${wsUrl()}/connection/websocket`, protocols)
        // One that is cut before it is open says so with an error.
        this.on('error', () => undefined)
        made(this)
      }
    } as typeof WebSocket
  }

  /** Ends the connection without a close frame; the SDK comes back by itself. */
  cut(): void {
    this.socket?.terminate()
  }
}
