import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child-process.js'
import { freePort } from './free-port.js'

/** A real Redis on a free port that keeps nothing on disk, and can be stopped and started again on the same port. */
export class RedisServer {
  private child: Child | undefined
  private readonly directory = mkdtempSync(join(tmpdir(), 'fanfare-redis-'))

  private constructor(
    readonly port: number,
    private readonly args: readonly string[],
  ) {}

  static async start(args: readonly string[] = []): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args)
    await server.startAgain()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  get pid(): number {
    if (this.child === undefined) throw new Error('Redis is stopped')
    return this.child.pid
  }

  async startAgain(): Promise<void> {
    const options = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    this.child = new Child('redis-server', [...options, '--dir', this.directory, ...this.args])
    await this.child.line(/Ready to accept connections/)
  }

  /** Kills it: its data is lost, as after a crash without persistence. */
  async stop(): Promise<void> {
    await this.child?.stop('SIGKILL')
    this.child = undefined
  }

  /** Suspends the process, which then keeps its connections and answers nothing until `resume`. */
  freeze(): void {
    this.child?.kill('SIGSTOP')
  }

  resume(): void {
    this.child?.kill('SIGCONT')
  }

  /** Stops it, and removes its working directory. */
  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
