import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/** A proxy of a port of 127.0.0.1 that can cut connections, and delay or change the server's data. */
export class TcpProxy {
  /** The delay of each chunk of the server's data, one after the other. */
  latencyMs = 0
  /** Changes each chunk of the server's data, which is passed as Latin-1. */
  rewrite: ((text: string) => string) | undefined
  private readonly sockets = new Set<Socket>()
  private readonly server = createServer((client) => {
    const target = connect(this.targetPort, '127.0.0.1')
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.sockets.add(from)
      // `close` follows each error.
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
      transform: (received: Buffer, _encoding, done) => {
        const { rewrite, latencyMs } = this
        const chunk =
          rewrite === undefined ? received : Buffer.from(rewrite(received.toString('latin1')), 'latin1')
        if (latencyMs === 0) done(null, chunk)
        else setTimeout(() => done(null, chunk), latencyMs)
      },
    })
  }

  /** Ends every open connection; new ones go through. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  remove(): void {
    this.server.close()
    this.cut()
  }
}
