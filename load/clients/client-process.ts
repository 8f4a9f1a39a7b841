import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ConnectRequest, PublishReport, PublishRequest, Reply, Request } from './requests.js'
import type { TallyReport } from './tally.js'

const running = new Set<ChildProcess>()

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A helper process that takes requests one after the other; killed with this process at the latest. */
class ClientProcess {
  private readonly process: ChildProcess
  private readonly exited: Promise<string>

  constructor(module: string) {
    this.process = fork(fileURLToPath(new URL(module, import.meta.url)))
    running.add(this.process)
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (code, signal) => {
        running.delete(this.process)
        resolve(`${module} ended (${signal ?? code})`)
      })
    })
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error('the process did not start')
    return this.process.pid
  }

  connect(request: Omit<ConnectRequest, 'kind'>): Promise<Reply> {
    return this.request({ kind: 'connect', ...request })
  }

  /** Ends the process, and with it its connections. */
  async stop(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.exited
  }

  protected async request(request: Request): Promise<Reply> {
    const reply = await new Promise<Reply>((resolve, reject) => {
      this.process.once('message', resolve)
      this.process.send(request)
      this.exited.then((how) => reject(new Error(how)), reject)
    })
    if (reply.error !== undefined) throw new Error(reply.error)
    return reply
  }
}

/** A process of subscribers, from the parent's side. */
export class Subscribers extends ClientProcess {
  constructor() {
    super('./subscribers.js')
  }

  async disconnect(): Promise<void> {
    await this.request({ kind: 'disconnect' })
  }

  async expect(first: number, messages: number): Promise<void> {
    await this.request({ kind: 'expect', first, messages })
  }

  /** What arrived, as soon as it is everything that was expected, else at the deadline (monotonic ms). */
  async tally(deadlineMs: number): Promise<TallyReport> {
    const { tally } = await this.request({ kind: 'tally', deadlineMs })
    if (tally === undefined) throw new Error('no tally')
    return tally
  }
}

/** The publisher's process, from the parent's side. */
export class Publisher extends ClientProcess {
  constructor() {
    super('./publisher.js')
  }

  /** Sends on a schedule and resolves after the last message was sent. */
  async publish(request: Omit<PublishRequest, 'kind'>): Promise<PublishReport> {
    const { published } = await this.request({ kind: 'publish', ...request })
    if (published === undefined) throw new Error('no report')
    return published
  }
}
