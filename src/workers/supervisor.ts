import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config/settings.js'
import type { OperationsSource } from '../http/operations.js'
import type { Logger } from '../log.js'
import { JointMetrics } from '../metrics/joint-metrics.js'
import type { Exposition, MetricsSnapshot } from '../metrics/metrics.js'
import type { Readiness, ReadyState } from '../node/node.js'
import { findPort } from '../transport/find-port.js'
import { forkWorker } from './fork.js'
import type { FromWorker, ToWorker, WorkerReport } from './messages.js'

const WORKER_FILE = fileURLToPath(new URL('./worker.js', import.meta.url))
/** A worker that has not answered by then hangs, for the time being. Well below the second that a balancer waits. */
const REPORT_TIMEOUT_MS = 300
/** How much longer than delay and window a drain may take before the workers that are left are killed: they take 10 s at the most. */
const DRAIN_GRACE_MS = 15_000
/** Between the end of a worker and its successor: longer each time while they end at once. */
const FIRST_RESTART_MS = 500
const MAX_RESTART_MS = 30_000
/** A worker that lived this long ends the lengthening. */
const STABLE_MS = 60_000

/** From the worst: what several workers are together is what the worst of them is. */
const WORST_FIRST: readonly ReadyState[] = ['draining', 'starting', 'deaf', 'degraded', 'ok']

interface Worker {
  readonly process: ChildProcess
  readonly startedMs: number
  state: 'starting' | 'listening' | 'ready'
  lastMetrics: MetricsSnapshot | undefined
}

interface Collection {
  readonly reports: WorkerReport[]
  awaited: number
  readonly done: () => void
}

/** Runs several nodes on one port, starts those again that end, and answers operators for all of them. */
export class Supervisor implements OperationsSource {
  private readonly workers = new Map<number, Worker>()
  private readonly collections = new Map<number, Collection>()
  private readonly jointMetrics = new JointMetrics()
  private readonly failedFast = new Map<number, number>()
  private lastReportId = 0
  private isStopping = false
  private starting: { readonly done: () => void; readonly failed: (error: Error) => void } | undefined
  private hasBeenReady = false
  private whenAllGone: (() => void) | undefined
  private isClean = true

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
    /** Called once, when all workers hear the cluster for the first time. */
    private readonly ready: () => void,
  ) {}

  /** Resolves when all workers listen; rejects when the port is taken or a worker says that it cannot start. */
  async start(): Promise<void> {
    await findPort(this.config.host, this.config.port)
    const allListen = new Promise<void>((done, failed) => {
      this.starting = { done, failed }
    })
    for (let number = 1; number <= this.config.workers; number++) this.startWorker(number)
    await allListen
    this.starting = undefined
  }

  /** Drains all workers together. Resolves with whether all of them ended cleanly. */
  drain(): Promise<boolean> {
    this.isStopping = true
    return new Promise((resolve) => {
      this.whenAllGone = () => resolve(this.isClean)
      for (const { process } of this.workers.values()) send(process, { type: 'drain' })
      if (this.workers.size === 0) resolve(this.isClean)
      const { drainDelay, drainWindow } = this.config
      setTimeout(
        () => {
          this.isClean = false
          this.log.warn({ workers: this.workers.size }, 'not drained in time')
          this.stop()
        },
        drainDelay + drainWindow + DRAIN_GRACE_MS,
      )
    })
  }

  /** Ends whatever is left. */
  stop(): void {
    this.isStopping = true
    for (const { process } of this.workers.values()) process.kill('SIGKILL')
  }

  async readiness(): Promise<Readiness> {
    if (this.isStopping) return { status: 'draining', relaySilenceMs: 0 }
    const readinesses = (await this.collect()).map(({ readiness }) => readiness)
    // The kernel goes on giving connections to a worker that hangs.
    if (readinesses.length < this.workers.size) return { status: 'deaf', relaySilenceMs: REPORT_TIMEOUT_MS }
    for (const status of WORST_FIRST) {
      const worst = readinesses.find((readiness) => readiness.status === status)
      if (worst !== undefined) return worst
    }
    return { status: 'starting', relaySilenceMs: 0 }
  }

  /** A worker that hangs is there with what it said last: counters that went back would be taken for restarts. */
  async metrics(): Promise<Exposition> {
    await this.collect()
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
    process.on('exit', (code, signal) => this.ended(number, worker, code, signal))
    send(process, { type: 'start', config: this.config, worker: number })
  }

  private receive(worker: Worker, message: FromWorker): void {
    switch (message.type) {
      case 'listening':
      case 'ready':
        worker.state = message.type
        this.progressed()
        return
      case 'failed':
        if (this.starting !== undefined) this.starting.failed(new Error(message.message))
        else this.log.error({ error: message.message }, 'a worker cannot start')
        worker.process.kill('SIGKILL')
        return
      case 'report':
        worker.lastMetrics = message.report.metrics
        this.reported(message.id, message.report)
        return
    }
  }

  private progressed(): void {
    const states = [...this.workers.values()].map(({ state }) => state)
    if (states.length < this.config.workers) return
    if (states.every((state) => state !== 'starting')) this.starting?.done()
    if (this.hasBeenReady || !states.every((state) => state === 'ready')) return
    this.hasBeenReady = true
    this.ready()
  }

  private ended(number: number, worker: Worker, code: number | null, signal: NodeJS.Signals | null): void {
    this.workers.delete(number)
    if (this.isStopping) {
      if (code !== 0) this.isClean = false
      if (this.workers.size === 0) this.whenAllGone?.()
      return
    }
    this.jointMetrics.workerEnded(worker.lastMetrics)
    const isStable = performance.now() - worker.startedMs > STABLE_MS
    const failures = isStable ? 0 : (this.failedFast.get(number) ?? 0)
    this.failedFast.set(number, failures + 1)
    const restartMs = Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** failures)
    this.log.error(
      { worker: number, pid: worker.process.pid, code, signal, restartMs },
      'a worker ended; starting another',
    )
    setTimeout(() => {
      if (!this.isStopping) this.startWorker(number)
    }, restartMs)
  }

  /** What the workers say of themselves, without those that do not answer in time. */
  private collect(): Promise<readonly WorkerReport[]> {
    const id = ++this.lastReportId
    return new Promise((resolve) => {
      const reports: WorkerReport[] = []
      const done = () => {
        clearTimeout(timeout)
        this.collections.delete(id)
        resolve(reports)
      }
      const timeout = setTimeout(done, REPORT_TIMEOUT_MS)
      this.collections.set(id, { reports, awaited: this.workers.size, done })
      for (const { process } of this.workers.values()) send(process, { type: 'report', id })
      if (this.workers.size === 0) done()
    })
  }

  private reported(id: number, report: WorkerReport): void {
    const collection = this.collections.get(id)
    if (collection === undefined) return
    collection.reports.push(report)
    collection.awaited--
    if (collection.awaited === 0) collection.done()
  }
}

/** A worker that is ending does not hear any more; its end is seen elsewhere. */
function send(process: ChildProcess, message: ToWorker): void {
  if (process.connected) process.send(message, () => undefined)
}
