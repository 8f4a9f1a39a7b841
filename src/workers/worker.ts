import { composeNode } from '../compose.js'
import type { Config } from '../config/settings.js'
import { createLogger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Node } from '../node/node.js'
import type { FromWorker, ToWorker } from './messages.js'

/** A process of its own that runs one of the nodes of a supervisor, and does what that tells it. */

interface Running {
  readonly node: Node
  readonly metrics: Metrics
}

let running: Running | undefined

function send(message: FromWorker): void {
  if (process.connected) process.send?.(message)
}

async function start(config: Config, worker: number): Promise<void> {
  const log = createLogger({ level: config.logLevel, format: config.logFormat, worker })
  try {
    running = composeNode({ config, log, isPortShared: true, ready: () => send({ type: 'ready' }) })
    await running.node.start()
    send({ type: 'listening' })
  } catch (error) {
    send({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
}

async function report(id: number): Promise<void> {
  if (running === undefined) return
  const { node, metrics } = running
  send({ type: 'report', id, report: { readiness: node.readiness(), metrics: await metrics.snapshot() } })
}

async function drain(): Promise<void> {
  const isClean = (await running?.node.drain()) ?? true
  running?.node.stop()
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
// A supervisor that is gone can't tell any more; clients are better off elsewhere.
process.on('disconnect', () => void drain())
// A terminal sends its signals to the whole group of processes: the supervisor decides what they mean.
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => undefined)
