import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/** The two sockets of a proxied connection. */
interface Pair {
  /** Whether what either side sends is dropped from now on, without an end of the connection. */
  isDead: boolean
}

/** A proxy of a port of 127.0.0.1 that can cut, delay or deaden connections, lead them elsewhere, or change the server's data. */
export class TcpProxy {
  /** The delay of each chunk of the server's data, one after the other. */
  latencyMs = 0
  /** The time that data is under way in each direction, however much of it there is. */
  delayMs = 0
  /** Whether new connections are closed at once. */
  isRefusing = false
  /** Changes each chunk of the server's data, which is passed as Latin-1. */
  rewrite: ((text: string) => string) | undefined
  private isDeadening = false
  private readonly pairs = new Set<Pair>()
  private readonly sockets = new Set<Socket>()
  private readonly server = createServer((client) => {
    if (this.isRefusing) {
      client.on('error', () => undefined)
      client.resetAndDestroy()
      return
    }
    const target = connect(this.targetPort, '127.0.0.1')
    const pair = { isDead: this.isDeadening }
    this.pairs.add(pair)
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.sockets.add(from)
      // `close` follows each error.
      from.on('error', () => undefined)
      from.on('close', () => {
        this.sockets.delete(from)
        this.pairs.delete(pair)
        to.destroy()
      })
    }
    client.pipe(this.line(pair)).pipe(target)
    target.pipe(this.delay()).pipe(this.line(pair)).pipe(client)
  })

  private constructor(private targetPort: number) {}

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

  /** Leads new connections to another port; those that are open stay where they are. */
  leadTo(targetPort: number): void {
    this.targetPort = targetPort
  }

  /** Drops all that the open connections send, in both directions and for good; `andNew`: so for new ones until `heal`. */
  deaden({ andNew }: { andNew: boolean }): void {
    this.isDeadening = andNew
    for (const pair of this.pairs) pair.isDead = true
  }

  /** Lets new connections through again. */
  heal(): void {
    this.isDeadening = false
    this.isRefusing = false
  }

  /** Passes data on in order, each chunk when it is due: one timer, since two may fire in the wrong order. */
  private line(pair: Pair): Transform {
    const waiting: { chunk: Buffer; dueMs: number }[] = []
    let timer: NodeJS.Timeout | undefined
    let drained: (() => void) | undefined
    const drain = () => {
      clearTimeout(timer)
      for (let [next] = waiting; next !== undefined; [next] = waiting) {
        const inMs = next.dueMs - performance.now()
        if (inMs > 0) {
          timer = setTimeout(drain, inMs)
          return
        }
        waiting.shift()
        if (!pair.isDead) line.push(next.chunk)
      }
      drained?.()
    }
    const line = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        waiting.push({ chunk, dueMs: performance.now() + this.delayMs })
        drain()
        done()
      },
      flush: (done) => {
        drained = done
        drain()
      },
    })
    return line
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
