import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { RedisServer } from '../deploy/local/redis-server.js'
import { ensureInstalled } from '../deploy/local/system-packages.js'
import { wholeNumber } from './arguments.js'
import type { Cleanup } from './cleanup.js'
import { Subscribers } from './clients/client-process.js'
import { spreadOf } from './cpu/statistics.js'
import { type Cores, cpuTimeNs, pin, requireLinux, shareCores } from './process-usage.js'
import { type Requirement, reportRequirements } from './requirements.js'
import { type Server, startFanfare, startServer } from './servers.js'
import { formatTable } from './table.js'

/** The least that a node has to accept in a second of CPU time. */
const MIN_CONNECTS_PER_CPU_SECOND = 10_000
/** The descriptors of one process, less a reserve. */
const MAX_CONNECTIONS = 18_000
const CHANNELS = Array.from({ length: 100 }, (_, index) => `connects-${index}`)
const CHANNELS_PER_CLIENT = 2
/** After these V8 has compiled the code of a connect, in the server and in the clients. */
const WARM_UP_ROUNDS = 3
/** How long after the last answer the server is measured, for the presence and joins that follow it. */
const TRAILING_MS = 100
/** How long a server takes to process that the connections of a round are closed. */
const SETTLE_MS = 2_000
/** A namespace that clients may subscribe to, without presence. */
const WITHOUT_PRESENCE = JSON.stringify([{ name: '', allow_subscribe_for_client: true }])

const SMOKE = { connections: '500', rounds: '1' }
const FULL = { connections: '5000', rounds: '5' }

export const CONNECTS_USAGE = 'connects [--connections 5000] [--rounds 5] [--smoke]'

interface ConnectsOptions {
  connections: number
  rounds: number
  isSmoke: boolean
}

/** A server to measure, and whether it has to meet the requirement. */
interface Candidate {
  title: string
  isRequired: boolean
  start(redisUrl: string): Promise<Server>
}

const CANDIDATES: readonly Candidate[] = [
  {
    title: 'bare uWS, handshake alone',
    isRequired: false,
    start: (redisUrl) => startServer('uws', redisUrl),
  },
  { title: 'Fanfare in memory', isRequired: true, start: () => startFanfare(undefined, {}) },
  {
    title: 'Fanfare, Redis, no presence',
    isRequired: true,
    start: (redisUrl) => startFanfare(redisUrl, { FANFARE_NAMESPACES: WITHOUT_PRESENCE }),
  },
  {
    title: 'Fanfare, Redis, presence and joins',
    // Each connect is two writes of presence and two join events more, which no client here watches. What they cost is
    // measured and has no bound.
    isRequired: false,
    start: (redisUrl) => startFanfare(redisUrl, {}),
  },
]

/**
 * Measures what connecting costs a node: handshake, token (HS256), two subscriptions, all sent in one frame; returns
 * the exit code.
 */
export async function runConnects(args: string[], cleanup: Cleanup): Promise<number> {
  const options = parseConnectsOptions(args)
  requireLinux()
  ensureInstalled(['redis-server'])
  const cores = shareCores()
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  pin(redis.pid, cores.others)
  const results = new Map<Candidate, Round[]>()
  for (const candidate of CANDIDATES) {
    const server = await candidate.start(redis.url)
    cleanup.defer(() => server.stop())
    pin(server.pid, cores.server)
    results.set(candidate, await measure(candidate, server, { ...options, cores, cleanup }))
    await server.stop()
  }
  return report(results, options)
}

function parseConnectsOptions(args: string[]): ConnectsOptions {
  const { values } = parseArgs({
    args,
    options: {
      connections: { type: 'string' },
      rounds: { type: 'string' },
      smoke: { type: 'boolean', default: false },
    },
  })
  const defaults = values.smoke ? SMOKE : FULL
  return {
    connections: wholeNumber('connections', values.connections ?? defaults.connections, MAX_CONNECTIONS),
    rounds: wholeNumber('rounds', values.rounds ?? defaults.rounds, 1000),
    isSmoke: values.smoke,
  }
}

/** What a round cost the server. */
interface Round {
  /** CPU time for each connect. */
  us: number
  /** Share of a core. Far below 1 the server was waiting for the clients, and `us` includes the cost of the waits. */
  busy: number
}

async function measure(
  { title }: Candidate,
  server: Server,
  { connections, rounds, cores, cleanup }: ConnectsOptions & { cores: Cores; cleanup: Cleanup },
): Promise<Round[]> {
  const measured: Round[] = []
  const clients = new Subscribers()
  cleanup.defer(() => clients.stop())
  pin(clients.pid, cores.subscribers)
  for (let round = -WARM_UP_ROUNDS; round < rounds; round += 1) {
    const protocol = server.name === 'fanfare' ? 'centrifuge' : 'raw'
    const target = {
      url: server.url,
      credentials: server.credentials,
      protocol,
      channels: CHANNELS,
      channelsPerClient: CHANNELS_PER_CLIENT,
    } as const
    const startedCpuNs = cpuTimeNs(server.pid)
    const { connectedInMs = 0 } = await clients.connect({ ...target, connections })
    await sleep(TRAILING_MS)
    const cpuUs = (cpuTimeNs(server.pid) - startedCpuNs) / 1000
    await clients.disconnect()
    await sleep(SETTLE_MS)
    if (round < 0) continue
    const us = cpuUs / connections
    measured.push({ us, busy: cpuUs / 1000 / connectedInMs })
    console.log(`${title}, round ${round + 1} of ${rounds}: ${us.toFixed(1)} µs a connect`)
  }
  await clients.stop()
  return measured
}

function report(results: ReadonlyMap<Candidate, readonly Round[]>, options: ConnectsOptions): number {
  const head = ['server', 'µs/connect', 'min', 'q1', 'q3', 'max', 'busy', 'connects/CPU-s']
  const rows = [...results].map(([{ title }, rounds]) => {
    const { median, min, q1, q3, max } = spreadOf(rounds.map(({ us }) => us))
    const busy = spreadOf(rounds.map((round) => round.busy)).median
    return [
      title,
      ...[median, min, q1, q3, max].map((us) => us.toFixed(1)),
      `${(100 * busy).toFixed(0)} %`,
      (1e6 / median).toFixed(0),
    ]
  })
  console.log(
    `\n${options.connections} connects a round, ${CHANNELS_PER_CLIENT} subscriptions each\n\n${formatTable([head, ...rows])}\n`,
  )
  const requirements = [...results].flatMap(([{ title, isRequired }, rounds]): Requirement[] => {
    if (!isRequired) return []
    return [
      {
        text: `${title}: at least ${MIN_CONNECTS_PER_CPU_SECOND} connects for a second of CPU time`,
        isMet: 1e6 / spreadOf(rounds.map(({ us }) => us)).median >= MIN_CONNECTS_PER_CPU_SECOND,
        appliesToSmoke: false,
      },
    ]
  })
  return reportRequirements(requirements, options.isSmoke)
}
