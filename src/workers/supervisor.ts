import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config/settings.js'
import type { OperationsSource } from '../http/operations.js'
import type { Logger } from '../log.js'
import { JointMetrics } from '../metrics/joint-metrics.js'
import type { Exposition, MetricsSnapshot } from '../metrics/metrics.js'
import type { Readiness, ReadyState, ReasonsByShard } from '../node/node.js'
import { findPort } from '../transport/find-port.js'
import { forkWorker } from './fork.js'
import type { FromWorker, ToWorker, WorkerReport } from './messages.js'

const WORKER_FILE = fileURLToPath(new URL('./worker.js', import.meta.url))
/** A worker that has not reported by then counts as hanging. Well below the second that a load balancer waits. */
const REPORT_TIMEOUT_MS = 300
/** Time beyond delay and window after which the workers left are killed. They give up their own drain after 10 s. */
const DRAIN_GRACE_MS = 15_000
/** Delay before an ended worker is restarted. It doubles, up to the maximum, with each early end in a row. */
const FIRST_RESTART_MS = 500
const MAX_RESTART_MS = 30_000
/** A worker that ran for longer than this did not end early: the delay starts again from the first. */
const STABLE_MS = 60_000

/** The status of all workers together is that of the worst of them. */
const WORST_FIRST: readonly ReadyState[] = ['draining', 'starting', 'deaf', 'degraded', 'ok']

interface Worker {
  readonly process: ChildProcess
  readonly startedMs: number
  state: 'starting' | 'listening' | 'ready'
  /** Of its latest report. */
  lastMetrics: MetricsSnapshot | undefined
}

/** Reports of all workers, while they are being collected. */
interface ReportCollection {
  readonly reports: WorkerReport[]
  /** Number of workers that have not reported yet. */
  awaited: number
  readonly finish: () => void
}

/** Runs several workers on one port, restarts those that end, and reports readiness and metrics for all of them. */
export class Supervisor implements OperationsSource {
  /** By number, from 1, which a restarted worker keeps. */
  private readonly workers = new Map<number, Worker>()
  /** By the id that the supervisor asked for the reports with. */
  private readonly collections = new Map<number, ReportCollection>()
  private readonly jointMetrics = new JointMetrics()
  /** Worker number → times in a row that the worker has ended early. */
  private readonly earlyEnds = new Map<number, number>()
  private lastReportId = 0
  private isStopping = false
  /** Settles the promise of `start`; undefined once all workers listen. */
  private pendingStart: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined
  private hasBeenReady = false
  private onAllEnded: (() => void) | undefined
  /** Whether every worker that ended during the drain ended with exit code 0, in time. */
  private areAllEndsClean = true

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
    /** Called once, when all workers are ready for the first time. */
    private readonly ready: () => void,
  ) {}

  /** Resolves when all workers listen. Rejects when the port is taken or a worker reports that it cannot start. */
  async start(): Promise<void> {
    await findPort(this.config.host, this.config.port)
    const allListen = new Promise<void>((resolve, reject) => {
      this.pendingStart = { resolve, reject }
    })
    for (let number = 1; number <= this.config.workers; number++) this.startWorker(number)
    await allListen
    this.pendingStart = undefined
  }

  /** Drains all workers together. Resolves with whether all of them ended with exit code 0, in time. */
  drain(): Promise<boolean> {
    this.isStopping = true
    return new Promise((resolve) => {
      this.onAllEnded = () => resolve(this.areAllEndsClean)
      for (const { process } of this.workers.values()) send(process, { type: 'drain' })
      if (this.workers.size === 0) resolve(this.areAllEndsClean)
      const { drainDelay, drainWindow } = this.config
      setTimeout(
        () => {
          this.areAllEndsClean = false
          this.log.warn({ workers: this.workers.size }, 'not drained in time')
          this.stop()
        },
        drainDelay + drainWindow + DRAIN_GRACE_MS,
      )
    })
  }

  /** Kills the workers that are left. */
  stop(): void {
    this.isStopping = true
    for (const { process } of this.workers.values()) process.kill('SIGKILL')
  }

  async readiness(): Promise<Readiness> {
    if (this.isStopping) return { status: 'draining', reasons: ['node_stopping'], relaySilenceMs: 0 }
    const readinesses = (await this.collectReports()).map(({ readiness }) => readiness)
    // Not ready when a worker hangs: the kernel goes on giving it connections.
    if (readinesses.length < this.workers.size) {
      return { status: 'deaf', reasons: ['worker_silent'], relaySilenceMs: REPORT_TIMEOUT_MS }
    }
    const reasons = [...new Set(readinesses.flatMap((readiness) => readiness.reasons))].sort()
    for (const status of WORST_FIRST) {
      const worst = readinesses.find((readiness) => readiness.status === status)
      if (worst !== undefined) return { ...worst, reasons, ...mergeShards(readinesses) }
    }
    return { status: 'starting', reasons: [], relaySilenceMs: 0 }
  }

  /** A worker that hangs counts with its last report, since Prometheus takes a counter that decreases for a restart. */
  async metrics(): Promise<Exposition> {
    await this.collectReports()
    const snapshots = [...this.workers.values()].map(({ lastMetrics }) => lastMetrics)
    return this.jointMetrics.expose(snapshots.filter((snapshot) => snapshot !== undefined))
  }

  private startWorker(number: number): void {
    const process = forkWorker(WORKER_FILE)
    const worker: Worker = {
      process,
      startedMs: performance.now(),
      state: 'starting',
      lastMetrics: undefined,
    }
    this.workers.set(number, worker)
    process.on('message', (message: FromWorker) => this.receive(worker, message))
    process.on('exit', (code, signal) => this.workerEnded(number, worker, code, signal))
    send(process, { type: 'start', config: this.config, worker: number })
  }

  private receive(worker: Worker, message: FromWorker): void {
    switch (message.type) {
      case 'listening':
      case 'ready':
        worker.state = message.type
        this.checkStartup()
        return
      case 'failed':
        if (this.pendingStart !== undefined) this.pendingStart.reject(new Error(message.message))
        else this.log.error({ error: message.message }, 'a worker cannot start')
        worker.process.kill('SIGKILL')
        return
      case 'report':
        worker.lastMetrics = message.report.metrics
        this.addReport(message.id, message.report)
        return
    }
  }

  /** Resolves `start` when all workers listen, and calls `ready` when all are ready. */
  private checkStartup(): void {
    const states = [...this.workers.values()].map(({ state }) => state)
    if (states.length < this.config.workers) return
    if (states.every((state) => state !== 'starting')) this.pendingStart?.resolve()
    if (this.hasBeenReady || !states.every((state) => state === 'ready')) return
    this.hasBeenReady = true
    this.ready()
  }

  private workerEnded(
    number: number,
    worker: Worker,
    code: number | null,
    signal: NodeJS.Signals | null,
  ): void {
    this.workers.delete(number)
    if (this.isStopping) {
      if (code !== 0) this.areAllEndsClean = false
      if (this.workers.size === 0) this.onAllEnded?.()
      return
    }
    this.jointMetrics.addEndedWorker(worker.lastMetrics)
    const isStable = performance.now() - worker.startedMs > STABLE_MS
    const earlyEnds = isStable ? 0 : (this.earlyEnds.get(number) ?? 0)
    this.earlyEnds.set(number, earlyEnds + 1)
    const restartMs = Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** earlyEnds)
    this.log.error(
      { worker: number, pid: worker.process.pid, code, signal, restartMs },
      'a worker ended; starting another',
    )
    setTimeout(() => {
      if (!this.isStopping) this.startWorker(number)
    }, restartMs)
  }

  /** Asks all workers for a report. Resolves with those that arrive in time. */
  private collectReports(): Promise<readonly WorkerReport[]> {
    const id = ++this.lastReportId
    return new Promise((resolve) => {
      const reports: WorkerReport[] = []
      const finish = () => {
        clearTimeout(timeout)
        this.collections.delete(id)
        resolve(reports)
      }
      const timeout = setTimeout(finish, REPORT_TIMEOUT_MS)
      this.collections.set(id, { reports, awaited: this.workers.size, finish })
      for (const { process } of this.workers.values()) send(process, { type: 'report', id })
      if (this.workers.size === 0) finish()
    })
  }

  private addReport(id: number, report: WorkerReport): void {
    const collection = this.collections.get(id)
    if (collection === undefined) return
    collection.reports.push(report)
    collection.awaited--
    if (collection.awaited === 0) collection.finish()
  }
}

/** Sends nothing to a worker that is ending, whose channel is closed; `workerEnded` deals with its end. */
function send(process: ChildProcess, message: ToWorker): void {
  if (process.connected) process.send(message, () => undefined)
}

/** The reasons of all workers together, where they have several Redis. */
function mergeShards(readinesses: readonly Readiness[]): Pick<Readiness, 'shards'> {
  const merged: Record<string, ReasonsByShard[string]> = {}
  for (const { shards } of readinesses) {
    for (const [shard, reasons] of Object.entries(shards ?? {})) {
      merged[shard] = [...new Set([...(merged[shard] ?? []), ...reasons])].sort()
    }
  }
  return readinesses.some(({ shards }) => shards !== undefined) ? { shards: merged } : {}
}
