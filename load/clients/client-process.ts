import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { endWithThisProcess } from '../../deploy/local/process-guard.js'
import type { DeliveryReport } from './delivery-ledger.js'
import type { ConnectRequest, PublishReport, PublishRequest, Reply, Request } from './requests.js'

/** A helper process that serves requests one after the other. */
class ClientProcess {
  private readonly process: ChildProcess
  private readonly exited: Promise<string>

  constructor(module: string) {
    this.process = fork(fileURLToPath(new URL(module, import.meta.url)))
    endWithThisProcess(this.process)
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (code, signal) => resolve(`${module} ended (${signal ?? code})`))
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

  /** Rejects with the error of the reply, or when the process ends without a reply. */
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

/** A process of subscribers, seen from the benchmark. */
export class Subscribers extends ClientProcess {
  constructor() {
    super('./subscribers.js')
  }

  async disconnect(): Promise<void> {
    await this.request({ kind: 'disconnect' })
  }

  /** Starts to check deliveries of the messages `first` to `first + messages - 1`. */
  async expect(first: number, messages: number): Promise<void> {
    await this.request({ kind: 'expect', first, messages })
  }

  /** Resolves once every expected delivery has arrived, at the latest at the deadline (monotonic ms). */
  async report(deadlineMs: number): Promise<DeliveryReport> {
    const { deliveries } = await this.request({ kind: 'report', deadlineMs })
    if (deliveries === undefined) throw new Error('no report of deliveries')
    return deliveries
  }
}

/** The publisher's process, seen from the benchmark. */
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
