import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

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
const INSIST_MS = 60_000

const running = new Set<ChildProcess>()

function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** A test runner ends its workers with SIGTERM, which alone would leave their children behind. */
function endWithChildren(): void {
  killAll()
  process.exit(1)
}

process.on('exit', killAll)
process.once('SIGTERM', endWithChildren)

/** A process that a test or a load run started: ends with it whatever happens, and can be waited on by what it prints. */
export class Child {
  readonly exited: Promise<Exit>
  /** Everything printed so far, standard output and standard error together, a line each. */
  readonly lines: string[] = []
  private readonly process: ChildProcess
  private readonly watchers = new Set<(line: string) => void>()

  constructor(command: string, args: readonly string[], options: ChildOptions = {}) {
    this.process = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
    running.add(this.process)
    for (const stream of [this.process.stdout, this.process.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.printed(line))
    }
    this.exited = new Promise((resolve, reject) => {
      this.process.once('error', reject)
      this.process.once('close', (code, signal) => {
        running.delete(this.process)
        resolve({ code, signal })
      })
    })
    // Whoever waits for it sees the failure; nobody has to.
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

  /** The first line, printed already or yet to come, that the pattern matches; rejects when the process ends without it. */
  line(pattern: RegExp): Promise<string> {
    const printed = this.lines.find((line) => pattern.test(line))
    return printed === undefined ? this.nextLine(pattern) : Promise.resolve(printed)
  }

  /** The first line from now on that the pattern matches; rejects when the process ends without it. */
  nextLine(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const watch = (line: string) => {
        if (!pattern.test(line)) return
        this.watchers.delete(watch)
        resolve(line)
      }
      this.watchers.add(watch)
      const ended = () => {
        if (this.watchers.delete(watch)) reject(new Error(`ended without ${pattern}:\n${this.output}`))
      }
      this.exited.then(ended, reject)
    })
  }

  /** Asks it to end, insists when it does not, and waits until it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.kill(signal)
    const insist = setTimeout(() => this.kill('SIGKILL'), INSIST_MS)
    try {
      return await this.exited
    } finally {
      clearTimeout(insist)
    }
  }

  private printed(line: string): void {
    this.lines.push(line)
    for (const watch of this.watchers) watch(line)
  }
}
