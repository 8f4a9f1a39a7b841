import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { RedisServer } from '../deploy/local/redis-server.js'
import { ensureInstalled } from '../deploy/local/system-packages.js'
import { protocolName, serverNames, wholeNumber } from './arguments.js'
import type { Cleanup } from './cleanup.js'
import { Subscribers } from './clients/client-process.js'
import { monotonicMs } from './clients/message.js'
import type { Protocol } from './clients/requests.js'
import { collectGarbage, INSPECTABLE } from './collect-garbage.js'
import { type Cores, cpuTimeNs, pin, requireLinux, residentBytes, shareCores } from './process-usage.js'
import { reportRequirements } from './requirements.js'
import { type Server, type ServerName, startServer } from './servers.js'
import { formatTable } from './table.js'

/** The most memory and CPU that a node with idle, authenticated connections may use. */
const MAX_BYTES_PER_CONNECTION = 2.5 * 1024
const MAX_CORE_SHARE = 0.015

/** The descriptors of one process, less a reserve. */
const MAX_CONNECTIONS = 18_000

const CHANNELS = Array.from({ length: 100 }, (_, index) => `idle-${index}`)

/** Of a client of the Centrifuge protocol. */
const CHANNELS_PER_CLIENT = 2

/**
 * What a node serves before its memory without connections is read, so that its code is compiled and its heap has its
 * working size. Few connections at a time, because the measured ones reuse the memory that they leave behind.
 */
const WARM_UP = { rounds: 3, connections: 300 }

/** How long a server takes to process closed connections, and what follows opened ones. */
const SETTLE_MS = 3_000

const SMOKE = { connections: '1000', seconds: '5' }
const FULL = { connections: '10000', seconds: '60' }

export const IDLE_USAGE =
  'idle [--connections 10000] [--seconds 60] [--servers fanfare,uws] [--protocol raw] [--smoke]'

interface IdleOptions {
  connections: number
  seconds: number
  servers: ServerName[]
  /** What Fanfare's clients speak; the bare server's speak raw frames. */
  protocol: Protocol
  isSmoke: boolean
}

interface IdleResult {
  name: ServerName
  /** Resident memory without and with the connections, after a garbage collection. */
  emptyBytes: number
  fullBytes: number
  bytesPerConnection: number
  /** The same without the collections, which depends on when V8 last did one by itself. */
  bytesPerConnectionUncollected: number
  /** CPU time of the node over wall-clock time: 1 is a full core. */
  coreShare: number
  /** Connections that the clients had not closed and that ended, and why the last one did. */
  ended: number
  endReason: string
}

/** Measures memory and CPU of idle connections; returns the exit code. */
export async function runIdle(args: string[], cleanup: Cleanup): Promise<number> {
  const options = parseIdleOptions(args)
  requireLinux()
  ensureInstalled(['redis-server'])
  const cores = shareCores()
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  pin(redis.pid, cores.others)
  const results: IdleResult[] = []
  for (const name of options.servers) {
    const server = await startServer(name, redis.url, INSPECTABLE)
    cleanup.defer(() => server.stop())
    results.push(await measure(server, options, cores, cleanup))
    await server.stop()
  }
  return report(results, options)
}

function parseIdleOptions(args: string[]): IdleOptions {
  const { values } = parseArgs({
    args,
    options: {
      connections: { type: 'string' },
      seconds: { type: 'string' },
      servers: { type: 'string', default: 'fanfare,uws' },
      protocol: { type: 'string', default: 'raw' },
      smoke: { type: 'boolean', default: false },
    },
  })
  const defaults = values.smoke ? SMOKE : FULL
  return {
    connections: wholeNumber('connections', values.connections ?? defaults.connections, MAX_CONNECTIONS),
    seconds: wholeNumber('seconds', values.seconds ?? defaults.seconds, 3600),
    servers: serverNames(values.servers),
    protocol: protocolName(values.protocol),
    isSmoke: values.smoke,
  }
}

async function measure(
  server: Server,
  options: IdleOptions,
  cores: Cores,
  cleanup: Cleanup,
): Promise<IdleResult> {
  pin(server.pid, cores.server)
  const clientOptions = { protocol: options.protocol, cores, cleanup }
  console.log(`${server.name}: warming up`)
  for (let round = 0; round < WARM_UP.rounds; round += 1) {
    const clients = await connect(server, { ...clientOptions, connections: WARM_UP.connections })
    await clients.stop()
  }
  const empty = await readMemory(server)

  console.log(`${server.name}: opening ${options.connections} connections`)
  const clients = await connect(server, { ...clientOptions, connections: options.connections })
  const full = await readMemory(server)

  console.log(`${server.name}: idle for ${options.seconds} s`)
  const startedMs = monotonicMs()
  const startedCpuNs = cpuTimeNs(server.pid)
  await sleep(options.seconds * 1000)
  const usedMs = (cpuTimeNs(server.pid) - startedCpuNs) / 1e6
  const coreShare = usedMs / (monotonicMs() - startedMs)

  await clients.expect(0, 0)
  const { ended, endReason } = await clients.report(monotonicMs())
  await clients.stop()
  return {
    name: server.name,
    emptyBytes: empty.collected,
    fullBytes: full.collected,
    bytesPerConnection: (full.collected - empty.collected) / options.connections,
    bytesPerConnectionUncollected: (full.uncollected - empty.uncollected) / options.connections,
    coreShare,
    ended,
    endReason,
  }
}

/** Resident bytes before and after a garbage collection. */
async function readMemory(server: Server): Promise<{ uncollected: number; collected: number }> {
  await sleep(SETTLE_MS)
  const uncollected = residentBytes(server.pid)
  await collectGarbage(server.child)
  return { uncollected, collected: residentBytes(server.pid) }
}

interface ConnectOptions {
  connections: number
  protocol: Protocol
  cores: Cores
  cleanup: Cleanup
}

async function connect(
  server: Server,
  { connections, protocol, cores, cleanup }: ConnectOptions,
): Promise<Subscribers> {
  const clients = new Subscribers()
  cleanup.defer(() => clients.stop())
  pin(clients.pid, cores.subscribers)
  await clients.connect({
    url: server.url,
    credentials: server.credentials,
    protocol: server.name === 'fanfare' ? protocol : 'raw',
    channels: CHANNELS,
    channelsPerClient: CHANNELS_PER_CLIENT,
    connections,
  })
  return clients
}

function report(results: IdleResult[], options: IdleOptions): number {
  const mebibytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)
  const rows = results.map((result) => [
    result.name,
    mebibytes(result.emptyBytes),
    mebibytes(result.fullBytes),
    (result.bytesPerConnection / 1024).toFixed(2),
    (result.bytesPerConnectionUncollected / 1024).toFixed(2),
    (result.coreShare * 100).toFixed(2),
    String(result.ended),
  ])
  const head = ['server', 'empty MiB', 'full MiB', 'KiB/connection', 'uncollected', '% of a core', 'ended']
  console.log(
    `\n${options.connections} idle connections (Fanfare's: ${options.protocol})\n\n${formatTable([head, ...rows])}\n`,
  )

  const fanfare = results.find(({ name }) => name === 'fanfare')
  if (fanfare === undefined) return 0
  const requirements = [
    {
      text: `Fanfare: at most ${MAX_BYTES_PER_CONNECTION / 1024} KiB of resident memory a connection`,
      isMet: fanfare.bytesPerConnection <= MAX_BYTES_PER_CONNECTION,
      appliesToSmoke: false,
    },
    {
      text: `Fanfare: at most ${MAX_CORE_SHARE * 100} % of a core`,
      isMet: fanfare.coreShare <= MAX_CORE_SHARE,
      appliesToSmoke: false,
    },
    {
      text: `Fanfare: every connection stays (${fanfare.ended} ended${fanfare.ended > 0 ? `: ${fanfare.endReason}` : ''})`,
      isMet: fanfare.ended === 0,
      appliesToSmoke: true,
    },
  ]
  return reportRequirements(requirements, options.isSmoke)
}
