import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/** Stands between clients and a port of 127.0.0.1, and can cut or slow down what goes through it when the server itself cannot. */
export class TcpProxy {
  /** How long each piece of what the server says is kept, one after the other. */
  latencyMs = 0
  private readonly sockets = new Set<Socket>()
  private readonly server = createServer((client) => {
    const target = connect(this.targetPort, '127.0.0.1')
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.sockets.add(from)
      // An error is followed by the end, which is all that matters here.
      from.on('error', () => undefined)
      from.on('close', () => {
        this.sockets.delete(from)
        to.destroy()
      })
    }
    client.pipe(target)
    target.pipe(this.delay()).pipe(client)
  })

  private constructor(private readonly targetPort: number) {}

  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort)
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject)
      proxy.server.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  private delay(): Transform {
    return new Transform({
      transform: (piece, _encoding, passOn) => {
        if (this.latencyMs === 0) passOn(null, piece)
        else setTimeout(() => passOn(null, piece), this.latencyMs)
      },
    })
  }

  /** Ends every connection that is open now; new ones go through. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  remove(): void {
    this.server.close()
    this.cut()
  }
}
