import { connect, type Socket } from 'node:net'
import type { UwsApp, UwsLibrary, UwsWebSocket } from './library.js'
import { LISTEN } from './load-uws.js'

const HOST = '127.0.0.1'
const HANDSHAKE = [
  'GET / HTTP/1.1',
  `Host: ${HOST}`,
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  '\r\n',
].join('\r\n')

/**
 * Makes upgrades safe that happen after their handler has returned.
 *
 * When the callback of `HttpResponse.cork` has upgraded the response, the library goes on reading it as a response,
 * although that memory is a WebSocket by then: about one new socket in a few thousand is taken for an answered response
 * and closed (uNetworking/uWebSockets#1929). The library has one cork buffer: while another socket uses it, `cork` only
 * calls its callback. This class keeps the buffer in use by a socket that never closes: one end of a connection of this
 * process to itself.
 */
export class CorkBlocker {
  private constructor(
    private readonly app: UwsApp,
    private readonly corked: UwsWebSocket<unknown>,
    private readonly otherEnd: Socket,
  ) {}

  /** Resolves when the connection to itself is open. Rejects when this process cannot listen or connect. */
  static open(uws: UwsLibrary): Promise<CorkBlocker> {
    const app = uws.App()
    return new Promise((resolve, reject) => {
      app.listen(Buffer.from(HOST), 0, LISTEN.exclusive, (listenSocket) => {
        if (listenSocket === false) return reject(new Error(`cannot listen on ${HOST}`))
        const otherEnd = connect(uws.us_socket_local_port(listenSocket), HOST, () =>
          otherEnd.write(HANDSHAKE),
        )
        otherEnd.once('error', reject)
        // The library sends only the response to the handshake, which must be read, and is discarded.
        otherEnd.resume()
        app.ws(Buffer.from('/'), {
          idleTimeout: 0,
          sendPingsAutomatically: false,
          open: (socket) => {
            uws.us_listen_socket_close(listenSocket)
            resolve(new CorkBlocker(app, socket, otherEnd))
          },
        })
      })
    })
  }

  /** Calls back while no other socket can cork: writes are then sent at once, each by itself. */
  runUncorked(callback: () => void): void {
    this.corked.cork(callback)
  }

  close(): void {
    this.otherEnd.destroy()
    this.app.close()
  }
}
