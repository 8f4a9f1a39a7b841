import { isAbsolute, relative } from 'node:path'
import { composeInternalListener, composeNode } from '../compose.js'
import { type GeneratedSecrets, withGeneratedSecrets } from '../config/first-run.js'
import { type Config, environmentName } from '../config/settings.js'
import type { OperationsSource } from '../http/operations.js'
import { createLogger, type Logger } from '../log.js'
import { Supervisor } from '../workers/supervisor.js'
import { readValidConfiguration } from './configuration.js'

/** What `serve` runs: one node, or a supervisor of several workers. */
interface Service extends OperationsSource {
  /** Resolves with the public port. */
  start(): Promise<number>
  /** Closes all connections. Resolves with whether that was done within the drain window. */
  drain(): Promise<boolean>
  stop(): void
}

/**
 * Runs a node until a signal stops it. Resolves with the exit code: 0 after a clean drain, 1 when its deadline passed.
 */
export async function serve(
  options: Readonly<Record<string, unknown>>,
  unknownArguments: readonly string[],
): Promise<number> {
  const { config: given, warnings } = readValidConfiguration(options, unknownArguments)
  const { config, generatedSecrets } = withGeneratedSecrets(given)
  const log = createLogger({ level: config.logLevel, format: config.logFormat })
  for (const warning of warnings) log.warn({}, warning)
  const stop = stopSignals()
  let internalPort = config.internalPort
  const ready = (port: number) => log.info({ port, internalPort }, 'ready')
  const service = config.workers === 1 ? oneNode(config, log, ready) : severalNodes(config, log, ready)
  const internal = composeInternalListener(config, log, service)
  try {
    internalPort = await internal.listen({ host: config.internalHost, port: config.internalPort })
    const started = service.start().then((port) => {
      if (generatedSecrets !== undefined)
        console.log(firstRunText({ ...config, port, internalPort }, generatedSecrets))
      return stop.first
    })
    // A signal stops this also before the start is complete: workers that end before they listen are restarted for
    // ever.
    await Promise.race([started, stop.first])
    // A second signal ends the drain at once.
    const isClean = await Promise.race([service.drain(), stop.second.then(() => false)])
    log.info({ isClean }, 'stopped')
    return isClean ? 0 : 1
  } finally {
    service.stop()
    internal.close()
  }
}

function oneNode(config: Config, log: Logger, ready: (port: number) => void): Service {
  const { node, metrics } = composeNode({ config, log, isPortShared: false, ready })
  return {
    start: () => node.start(),
    drain: () => node.drain(),
    stop: () => node.stop(),
    readiness: () => node.readiness(),
    metrics: () => metrics.expose(),
  }
}

function severalNodes(config: Config, log: Logger, ready: (port: number) => void): Service {
  const supervisor = new Supervisor(config, log, () => ready(config.port))
  return {
    start: async () => {
      await supervisor.start()
      return config.port
    },
    drain: () => supervisor.drain(),
    stop: () => supervisor.stop(),
    readiness: () => supervisor.readiness(),
    metrics: () => supervisor.metrics(),
  }
}

/**
 * A signal repeated this soon counts once: a terminal sends Ctrl-C to npm and to the node, and npm passes its own on.
 */
const SAME_SIGNAL_MS = 500

/** The first and the second SIGTERM or SIGINT from now on. */
function stopSignals(): { first: Promise<void>; second: Promise<void> } {
  const resolves: (() => void)[] = []
  const next = () => new Promise<void>((resolve) => resolves.push(resolve))
  const signals = { first: next(), second: next() }
  // The listeners are never removed: without one a signal would end the process in mid-drain.
  for (const signal of ['SIGTERM', 'SIGINT']) {
    let lastMs = Number.NEGATIVE_INFINITY
    process.on(signal, () => {
      const nowMs = performance.now()
      if (nowMs - lastMs < SAME_SIGNAL_MS) return
      lastMs = nowMs
      resolves.shift()?.()
    })
  }
  return signals
}

/**
 * The command of this process as the operator can type it in the current folder, whether or not Fanfare is installed.
 */
function thisCommand(): string {
  const script = process.argv[1] ?? ''
  const path = relative(process.cwd(), script)
  const shown = path.startsWith('..') || isAbsolute(path) ? script : path
  return `node ${/^[\w./-]+$/.test(shown) ? shown : `'${shown}'`}`
}

/** The secrets that were generated for this run, and commands to paste that use them. */
function firstRunText(config: Config, { token, apiKey }: GeneratedSecrets): string {
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  const [ws, http] = config.tlsCert === undefined ? ['ws', 'http'] : ['wss', 'https']
  const address = `${host}:${config.port}`
  const room = `${ws}://${address}/ws/room`
  const key = apiKey ?? '<your API key>'
  const keySentence = apiKey === undefined ? '' : ' and an API key'
  return `
Fanfare is listening on ${http}://${address} and, for operators, on ${config.internalHost}:${config.internalPort}.
No secrets are configured, so it made up a token secret, a token for the user "guest"${keySentence}. They end with this run.

In a second terminal, join the channel "room"; what you type goes to all other clients in it:
  npx wscat -H '${config.authHeader}: ${token}' -c ${room}

In a third, join it too, or publish to it:
  curl ${http}://${address}/api/publish -H 'X-API-Key: ${key}' -d '{"channel":"room","data":{"text":"hello"}}'

With an SDK of the Centrifuge protocol, connect to ${ws}://${address}/connection/websocket
  with the token ${token}

Watch this machine's CPU and memory; in two terminals, for each prints what the other reports:
  ${thisCommand()} monitor ${ws}://${address} --token ${token}

"token" and "publish" of the same command ask for secrets that last: set ${environmentName('authHmacSecret')} and
${environmentName('apiKey')}, the same for the node and for them, and start again.
`
}
