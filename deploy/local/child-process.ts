import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { endWithThisProcess } from './process-guard.js'

export interface ChildOptions {
  env?: NodeJS.ProcessEnv
  cwd?: string
}

/** How a process ended: its exit code, or the signal that killed it. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** Longer than a node needs to drain, on a machine that is busy. */
const STOP_TIMEOUT_MS = 60_000

/**
 * A process that a test or a load run starts, and whose lines it waits for. It leads a process group of its own, which
 * is killed at the latest when this process ends (see process-guard.ts).
 */
export class Child {
  /** Rejects when the process could not be started. */
  readonly exited: Promise<Exit>
  /** Everything printed so far, standard output and standard error together, a line each. */
  readonly lines: string[] = []
  private readonly process: ChildProcess
  private readonly lineListeners = new Set<(line: string) => void>()

  constructor(command: string, args: readonly string[], options: ChildOptions = {}) {
    this.process = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    endWithThisProcess(this.process)
    for (const stream of [this.process.stdout, this.process.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.addLine(line))
    }
    this.exited = new Promise((resolve, reject) => {
      this.process.once('error', reject)
      this.process.once('close', (code, signal) => resolve({ code, signal }))
    })
    // Callers that await it get the error; for those that never do it is no unhandled rejection.
    this.exited.catch(() => undefined)
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error('the process did not start')
    return this.process.pid
  }

  get output(): string {
    return this.lines.join('\n')
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.process.kill(signal)
  }

  write(text: string): void {
    this.process.stdin?.write(text)
  }

  endInput(): void {
    this.process.stdin?.end()
  }

  /**
   * Resolves with the first line, printed already or later, that the pattern matches; rejects when the process ends
   * without one.
   */
  line(pattern: RegExp): Promise<string> {
    const printed = this.lines.find((line) => pattern.test(line))
    return printed === undefined ? this.nextLine(pattern) : Promise.resolve(printed)
  }

  /** Resolves with the first line from now on that the pattern matches; rejects when the process ends without one. */
  nextLine(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const listener = (line: string) => {
        if (!pattern.test(line)) return
        this.lineListeners.delete(listener)
        resolve(line)
      }
      this.lineListeners.add(listener)
      const onExit = () => {
        if (this.lineListeners.delete(listener))
          reject(new Error(`ended without ${pattern}:\n${this.output}`))
      }
      this.exited.then(onExit, reject)
    })
  }

  /** Sends the signal, kills the process if it has not ended a minute later, and resolves when it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.kill(signal)
    const timeout = setTimeout(() => this.kill('SIGKILL'), STOP_TIMEOUT_MS)
    try {
      return await this.exited
    } finally {
      clearTimeout(timeout)
    }
  }

  private addLine(line: string): void {
    this.lines.push(line)
    for (const listener of this.lineListeners) listener(line)
  }
}
