import type { Exit } from '../../deploy/local/child-process.js'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'

/** Lines of a node's log that are kept for the report of a run that failed. */
const LOG_LINES = 12

/** A node that faults kill, freeze and start again on the same ports. */
export class FaultNode {
  isUp = true
  /** Whether it is the process that the run began with, whose counters therefore count all of it. */
  hasLived = true
  /** Set when its process ended though no fault has ended it. */
  endedByItself: string | undefined
  private readonly earlierLines: string[] = []
  /** The processes that were told to end. */
  private readonly ending = new Set<FanfareProcess>()

  private constructor(
    readonly name: string,
    readonly settings: Readonly<Record<string, string>>,
    private process: FanfareProcess,
  ) {
    this.watch()
  }

  static async start(name: string, settings: Record<string, string>): Promise<FaultNode> {
    return new FaultNode(name, settings, await FanfareProcess.start(settings))
  }

  get port(): number {
    return this.process.port
  }

  get internalPort(): number {
    return this.process.internalPort
  }

  get wsUrl(): string {
    return this.process.wsUrl
  }

  get httpUrl(): string {
    return this.process.httpUrl
  }

  get internalUrl(): string {
    return this.process.internalUrl
  }

  metrics(): Promise<string> {
    return this.process.metrics()
  }

  freeze(): void {
    this.process.child.kill('SIGSTOP')
  }

  resume(): void {
    this.process.child.kill('SIGCONT')
  }

  /** Ends it at once, or by SIGTERM in order; resolves with how it ended. */
  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<Exit> {
    if (signal === 'SIGKILL') this.isUp = false
    this.hasLived = false
    this.ending.add(this.process)
    const { child } = this.process
    const exit = await child.stop(signal)
    this.isUp = false
    this.earlierLines.push(...child.lines)
    return exit
  }

  /** Starts it again on the same ports, and resolves once it is ready. */
  async startAgain(): Promise<void> {
    const ports = { FANFARE_PORT: `${this.port}`, FANFARE_INTERNAL_PORT: `${this.internalPort}` }
    this.process = await FanfareProcess.start({ ...this.settings, ...ports })
    this.isUp = true
    this.watch()
  }

  /** Its latest log lines above `info`. */
  get warnings(): readonly string[] {
    const lines = [...this.earlierLines, ...this.process.child.lines]
    return lines.filter((line) => !/"level":"(?:debug|info)"/.test(line)).slice(-LOG_LINES)
  }

  private watch(): void {
    const { process } = this
    void process.child.exited.then(({ code, signal }) => {
      if (this.ending.has(process)) return
      this.endedByItself = `${this.name} ended by itself with ${signal ?? `code ${code}`}`
    })
  }
}
