import { isAbsolute, relative } from 'node:path'
import { composeInternalListener, composeNode } from '../compose.js'
import { type GeneratedSecrets, withGeneratedSecrets } from '../config/first-run.js'
import { type Config, environmentName } from '../config/settings.js'
import type { OperationsSource } from '../http/operations.js'
import { createLogger, type Logger } from '../log.js'
import { Supervisor } from '../workers/supervisor.js'
import { readValidConfiguration } from './configuration.js'

/** What `serve` runs: a node, or a supervisor of several. */
interface Service extends OperationsSource {
  /** Resolves with the public port. */
  start(): Promise<number>
  /** Resolves with whether everybody could be sent away in time. */
  drain(): Promise<boolean>
  stop(): void
}

/** Runs a node until it is told to stop. Resolves with the exit code: 0 after a clean drain, 1 when its deadline passed. */
export async function serve(
  options: Readonly<Record<string, unknown>>,
  leftOver: readonly string[],
): Promise<number> {
  const { config: given, warnings } = readValidConfiguration(options, leftOver)
  const { config, madeUp } = withGeneratedSecrets(given)
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
      if (madeUp !== undefined) console.log(firstRunText({ ...config, port, internalPort }, madeUp))
      return stop.first
    })
    // Workers that end before they listen are started again for ever: whoever stops this need not wait for them.
    await Promise.race([started, stop.first])
    // Whoever signals twice does not want to wait.
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

/** The same signal this soon again is one: a terminal sends Ctrl-C to npm and to the node, and npm hands its on. */
const SAME_SIGNAL_MS = 500

/** The first and the second SIGTERM or SIGINT from now on. */
function stopSignals(): { first: Promise<void>; second: Promise<void> } {
  const resolves: (() => void)[] = []
  const next = () => new Promise<void>((resolve) => resolves.push(resolve))
  const signals = { first: next(), second: next() }
  // Kept to the end: without a listener a signal would kill the process in mid-drain.
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

/** The command that runs in this process, as it can be typed in this folder, whether or not it is installed. */
function thisCommand(): string {
  const script = process.argv[1] ?? ''
  const path = relative(process.cwd(), script)
  const shown = path.startsWith('..') || isAbsolute(path) ? script : path
  return `node ${/^[\w./-]+$/.test(shown) ? shown : `'${shown}'`}`
}

/** What was made up for this run, and commands to paste that use it. */
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

In a second terminal, join the channel "room"; what you type goes to everybody else in it:
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
