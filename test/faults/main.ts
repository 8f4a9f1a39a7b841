/** `npm run faults -- [name…] [options]`: faults in clusters of real processes; see docs/faults.md. */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureInstalled } from '../../deploy/local/system-packages.js'
import { Cleanup } from '../../load/cleanup.js'
import { errorMessage } from '../../src/error-message.js'
import { ArgumentsEnd, type FaultArguments, readArguments } from './arguments.js'
import { CALM, FAULTS, faultNamed } from './catalogue.js'
import { estimateMs, type Fault, isPassed, type Outcome } from './fault.js'
import { type RunOptions, type RunResult, runFault } from './fault-run.js'
import { SABOTAGES, type SabotageName } from './ledger/sabotage.js'
import { describeFailure, jsonReport, markdownReport, progressLine, type Skipped } from './report.js'
import { isSupported, TOPOLOGIES, TOPOLOGY_NAMES, type TopologyName } from './topologies.js'

const EXIT_FAILED = 1

/** A fault on a topology. */
interface Pair {
  readonly fault: Fault
  readonly topology: TopologyName
}

class FaultCommand {
  /** Of the run that is under way: Ctrl-C runs it. */
  private cleanup = new Cleanup()
  private readonly outcomes: Outcome[] = []
  private readonly skipped: Skipped[] = []
  private readonly beganMs = performance.now()
  private isInterrupted = false

  constructor(private readonly options: FaultArguments) {}

  /** Returns the exit code. */
  async run(): Promise<number> {
    const { sabotages, isList } = this.options
    if (isList) {
      list()
      return 0
    }
    ensureInstalled(['redis-server', 'haproxy'])
    this.endOnSignals()
    return sabotages.length > 0 ? this.runSabotages(sabotages) : this.runFaults()
  }

  private async runFaults(): Promise<number> {
    const { seed, seeds, minutes } = this.options
    const pairs = await this.choose()
    if (pairs.length === 0) throw new Error('there is nothing to run')
    const totalMs = seeds * pairs.reduce((sum, { fault }) => sum + estimateMs(fault), 0)
    const until = minutes === undefined ? '' : `, then again with new seeds until ${minutes} minutes are over`
    console.log(
      `${pairs.length} faults on topologies, ${seeds} seeds: about ${Math.ceil(totalMs / 60_000)} minutes${until}`,
    )
    const isTimeLeft = () => performance.now() - this.beganMs < (minutes ?? 0) * 60_000
    for (let round = 0; round < seeds || isTimeLeft(); round++) {
      for (const pair of pairs) {
        if (round >= seeds && !isTimeLeft()) break
        await this.runOne({ ...pair, seed: seed + round }, totalMs)
      }
    }
    this.report()
    const failed = this.outcomes.filter((outcome) => !isPassed(outcome))
    for (const outcome of failed) {
      console.log(
        `\n${outcome.fault} on ${outcome.topology}, seed ${outcome.seed}\n${describeFailure(outcome)}`,
      )
    }
    const deliveries = this.outcomes.reduce((sum, { ledger }) => sum + ledger.deliveries, 0)
    console.log(
      `\n${this.outcomes.length} runs, ${failed.length} failed, ${deliveries.toLocaleString('en-US')} deliveries, ${this.minutes} minutes`,
    )
    return failed.length === 0 ? 0 : 1
  }

  /** The faults that were asked for, on the topologies that apply, are supported, and have what they need. */
  private async choose(): Promise<readonly Pair[]> {
    const { names, topologies } = this.options
    const faults = names.length === 0 ? FAULTS.filter((fault) => fault !== CALM) : names.map(faultNamed)
    const wanted = TOPOLOGY_NAMES.filter((one) => topologies.length === 0 || topologies.includes(one))
    const supported = new Map<TopologyName, boolean>()
    for (const topology of wanted) {
      if (faults.some((fault) => fault.topologies.includes(topology)))
        supported.set(topology, await isSupported(topology))
    }
    const pairs: Pair[] = []
    for (const fault of faults) {
      const missing = fault.missing?.()
      for (const topology of fault.topologies) {
        if (!wanted.includes(topology)) continue
        const reason = supported.get(topology) === true ? missing : 'this build does not support it'
        if (reason === undefined) pairs.push({ fault, topology })
        else this.skipped.push({ fault: fault.name, topology, reason })
      }
    }
    for (const { fault, topology, reason } of this.skipped)
      console.log(`skip ${fault} on ${topology}: ${reason}`)
    return pairs
  }

  private async runOne(options: RunOptions, totalMs: number): Promise<void> {
    const live = this.showLive(options, totalMs)
    const outcome = await this.runClean(options)
    live.end()
    this.outcomes.push(outcome)
    console.log(progressLine(outcome))
    // What was there when a run of hours was interrupted is there.
    this.report()
  }

  /** Ends what a run has started, whatever comes of it. */
  private async runClean(options: RunOptions): Promise<RunResult> {
    this.cleanup = new Cleanup()
    const result = await runFault(options, this.cleanup)
    // The process ends when the cleanup, which the signal has begun, is done.
    if (this.isInterrupted) await new Promise(() => undefined)
    await this.cleanup.run()
    return result
  }

  private async runSabotages(sabotages: readonly SabotageName[]): Promise<number> {
    const { seed } = this.options
    let missed = 0
    for (const sabotage of sabotages) {
      const { property, summary } = SABOTAGES[sabotage]
      const options: RunOptions = { fault: CALM, topology: 'one', seed, sabotage }
      const result = await this.runClean(options)
      const isCaught = result.hasSabotaged && result.ledger.violations[property] > 0
      if (!isCaught) missed++
      const what = result.hasSabotaged
        ? `${property} ${result.ledger.violations[property]}`
        : 'nothing to break'
      console.log(`${isCaught ? 'caught' : 'MISSED'} ${sabotage}: ${summary} (${what})`)
    }
    return missed === 0 ? 0 : 1
  }

  /** On a terminal, a line that says what is run and how long it has taken. */
  private showLive({ fault, topology, seed }: RunOptions, totalMs: number): { end(): void } {
    if (!process.stdout.isTTY) return { end: () => undefined }
    const began = performance.now()
    const clear = () => process.stdout.write('\r\x1b[K')
    const timer = setInterval(() => {
      clear()
      const seconds = Math.round((performance.now() - began) / 1_000)
      const total = Math.round((100 * (performance.now() - this.beganMs)) / totalMs)
      process.stdout.write(
        `${fault.name} on ${topology}, seed ${seed}: ${seconds} s (about ${total} % of all)`,
      )
    }, 1_000)
    return {
      end: () => {
        clearInterval(timer)
        clear()
      },
    }
  }

  private report(): void {
    const { report } = this.options
    if (report === undefined) return
    const head = {
      date: new Date().toISOString().slice(0, 10),
      machine: `${availableParallelism()} cores, Node ${process.versions.node}`,
      command: `npm run faults -- ${process.argv.slice(2).join(' ')}`.trim(),
      minutes: this.minutes,
    }
    writeFileSync(report, markdownReport(head, this.outcomes, this.skipped))
    writeFileSync(report.replace(/\.md$/, '.json'), jsonReport(head, this.outcomes, this.skipped))
  }

  private get minutes(): number {
    return Math.round((performance.now() - this.beganMs) / 60_000)
  }

  private endOnSignals(): void {
    for (const [signal, exitCode] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      process.once(signal, () => {
        this.isInterrupted = true
        console.log('interrupted: stopping what was started')
        void this.cleanup.run().finally(() => process.exit(exitCode))
      })
    }
  }
}

function list(): void {
  const rows = FAULTS.map(({ name, topologies, summary }) => [name, topologies.join(', '), summary])
  for (const [name = '', topologies = '', summary = ''] of rows) {
    console.log(`${name} (${topologies})\n    ${summary}`)
  }
  console.log('')
  for (const name of TOPOLOGY_NAMES) console.log(`${name.padEnd(10)}${TOPOLOGIES[name].summary}`)
}

try {
  process.exitCode = await new FaultCommand(readArguments(process.argv.slice(2))).run()
} catch (error) {
  if (!(error instanceof ArgumentsEnd)) console.error(errorMessage(error))
  process.exitCode = error instanceof ArgumentsEnd ? error.exitCode : EXIT_FAILED
}
// Sockets of clients that are closing would keep the process.
await sleep(0)
process.exit()
