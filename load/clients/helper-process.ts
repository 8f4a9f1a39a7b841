import { type ChildProcess, fork } from 'node:child_process'
import { endWithThisProcess } from '../../deploy/local/process-guard.js'

/** What a helper process replies to every request: the message of an error, if there was one, beside its results. */
export interface HelperReply {
  error?: string
}

/** A helper process that serves requests one after the other, seen from the benchmark. */
export class HelperProcess<Request extends object, Reply extends HelperReply> {
  private readonly process: ChildProcess
  private readonly exited: Promise<string>

  constructor(module: URL) {
    this.process = fork(module)
    endWithThisProcess(this.process)
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (code, signal) => resolve(`${module.pathname} ended (${signal ?? code})`))
    })
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error('the process did not start')
    return this.process.pid
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
