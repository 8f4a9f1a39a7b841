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
 * although that memory is something else by then; about one new socket in some thousand is taken for an answered
 * response and cut (uNetworking/uWebSockets#1929). There is one cork buffer: while another socket holds it, `cork` does
 * nothing but call back. This holds it, with a socket that never closes: one end of a connection of this process to
 * itself.
 */
export class CorkHolder {
  private constructor(
    private readonly app: UwsApp,
    private readonly holder: UwsWebSocket<unknown>,
    private readonly otherEnd: Socket,
  ) {}

  static open(uws: UwsLibrary): Promise<CorkHolder> {
    const app = uws.App()
    return new Promise((resolve, reject) => {
      app.listen(Buffer.from(HOST), 0, LISTEN.exclusive, (listenSocket) => {
        if (listenSocket === false) return reject(new Error(`cannot listen on ${HOST}`))
        const otherEnd = connect(uws.us_socket_local_port(listenSocket), HOST, () =>
          otherEnd.write(HANDSHAKE),
        )
        otherEnd.once('error', reject)
        // What the library sends is an answer to the handshake; it must be read, and says nothing new.
        otherEnd.resume()
        app.ws(Buffer.from('/'), {
          idleTimeout: 0,
          sendPingsAutomatically: false,
          open: (holder) => {
            uws.us_listen_socket_close(listenSocket)
            resolve(new CorkHolder(app, holder, otherEnd))
          },
        })
      })
    })
  }

  /** Calls back while the buffer is held: what is written then goes out at once, in pieces. */
  whileHeld(callback: () => void): void {
    this.holder.cork(callback)
  }

  close(): void {
    this.otherEnd.destroy()
    this.app.close()
  }
}
