import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

/**
 * The listeners that a proxy sees of a node, controlled by a test. It accepts every handshake and answers every message
 * with its name.
 */
export class StandInNode {
  port = 0
  internalPort = 0
  /** The status that /ready is answered with. */
  readyStatus = 200
  /** The status that requests other than handshakes are answered with on the public port. */
  publicStatus = 200
  /** Whether the public port cuts every connection at its first request. */
  isDying = false
  /** Every request that reached the public port, handshakes included. */
  readonly requests: IncomingMessage[] = []
  private readonly sockets = new WebSocketServer({ noServer: true })
  private readonly publicServer = createServer((request, response) => this.answer(request, response))
  private readonly internalServer = createServer((_request, response) => {
    response.writeHead(this.readyStatus).end()
  })

  private constructor(readonly name: string) {
    this.publicServer.on('upgrade', (request, socket, head) => {
      this.requests.push(request)
      if (this.isDying) {
        socket.destroy()
        return
      }
      this.sockets.handleUpgrade(request, socket, head, (client) => {
        client.on('message', () => client.send(this.name))
      })
    })
  }

  static async start(name: string): Promise<StandInNode> {
    const node = new StandInNode(name)
    node.port = await listen(node.publicServer)
    node.internalPort = await listen(node.internalServer)
    return node
  }

  /** Stops listening on the public port and leaves established connections, as a draining node does. */
  stopListening(): void {
    this.publicServer.close()
  }

  async remove(): Promise<void> {
    for (const client of this.sockets.clients) client.terminate()
    for (const server of [this.publicServer, this.internalServer]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request)
    if (this.isDying) request.socket.destroy()
    else response.writeHead(this.publicStatus, { 'Retry-After': '7' }).end()
  }
}
