import { composeNode } from '../compose.js'
import type { Config } from '../config/settings.js'
import { errorMessage } from '../error-message.js'
import { createLogger, type Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Node } from '../node/node.js'
import type { FromWorker, ToWorker } from './messages.js'

/** Main module of a worker: a process that runs one node, as its supervisor directs. */

interface Running {
  readonly node: Node
  readonly metrics: Metrics
  readonly log: Logger
}

let running: Running | undefined

function send(message: FromWorker): void {
  if (process.connected) process.send?.(message)
}

async function start(config: Config, worker: number): Promise<void> {
  const log = createLogger({ level: config.logLevel, format: config.logFormat, worker })
  try {
    running = {
      ...composeNode({ config, log, isPortShared: true, ready: () => send({ type: 'ready' }) }),
      log,
    }
    await running.node.start()
    send({ type: 'listening' })
  } catch (error) {
    send({ type: 'failed', message: errorMessage(error) })
  }
}

/** Without a report the supervisor takes this worker for hanging, but its clients are served on. */
async function report(id: number): Promise<void> {
  if (running === undefined) return
  const { node, metrics, log } = running
  try {
    send({ type: 'report', id, report: { readiness: node.readiness(), metrics: await metrics.snapshot() } })
  } catch (error) {
    log.error({ err: error }, 'a report to the supervisor failed')
  }
}

async function drain(): Promise<void> {
  let isClean = true
  try {
    isClean = (await running?.node.drain()) ?? true
    running?.node.stop()
  } catch (error) {
    running?.log.error({ err: error }, 'the drain failed')
    isClean = false
  }
  process.exit(isClean ? 0 : 1)
}

process.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'start':
      void start(message.config, message.worker)
      return
    case 'report':
      void report(message.id)
      return
    case 'drain':
      void drain()
      return
  }
})
// Without a supervisor the worker cannot be stopped or restarted: its clients are better off on another node.
process.on('disconnect', () => void drain())
// A terminal sends its signals to the whole process group: the supervisor handles them, and sends `drain`.
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => undefined)
