import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { RedisServer } from '../test/support/redis-server.js'
import { ensureInstalled } from '../test/support/system-packages.js'
import { wholeNumber } from './arguments.js'
import type { Cleanup } from './cleanup.js'
import { Subscribers } from './clients/client-process.js'
import { spreadOf } from './cpu/statistics.js'
import { type Cores, cpuTimeNs, pin, requireLinux, shareCores } from './process-usage.js'
import { type Server, startFanfare, startServer } from './servers.js'
import { formatTable } from './table.js'

/** What a node has to manage in a second of CPU time. */
const MIN_CONNECTS_PER_CPU_SECOND = 10_000
/** The descriptors of one process, less a reserve. */
const MAX_CONNECTIONS = 18_000
const ROOMS = Array.from({ length: 100 }, (_, index) => `connects-${index}`)
const ROOMS_EACH = 2
/** Until V8 has compiled what a connect runs through, here and there. */
const WARM_UP_ROUNDS = 3
/** Until what follows the last answer is done: presence and joins. */
const TRAILING_MS = 100
/** Until the server has seen that the connections of a round are closed. */
const SETTLE_MS = 2_000
/** A namespace that lets clients subscribe, and keeps nothing of them. */
const WITHOUT_PRESENCE = JSON.stringify([{ name: '', allow_subscribe_for_client: true }])

const SMOKE = { connections: '500', rounds: '1' }
const FULL = { connections: '5000', rounds: '5' }

export const CONNECTS_USAGE = 'connects [--connections 5000] [--rounds 5] [--smoke]'

interface ConnectsOptions {
  connections: number
  rounds: number
  isSmoke: boolean
}

/** A server to connect to, and whether it is held to the bar. */
interface Candidate {
  title: string
  isJudged: boolean
  start(redisUrl: string): Promise<Server>
}

const CANDIDATES: readonly Candidate[] = [
  { title: 'bare uWS, handshake alone', isJudged: false, start: (redisUrl) => startServer('uws', redisUrl) },
  { title: 'Fanfare in memory', isJudged: true, start: () => startFanfare(undefined, {}) },
  {
    title: 'Fanfare, Redis, no presence',
    isJudged: true,
    start: (redisUrl) => startFanfare(redisUrl, { FANFARE_NAMESPACES: WITHOUT_PRESENCE }),
  },
  {
    title: 'Fanfare, Redis, presence and joins',
    // Two changes of what Redis keeps and two publications more for each connect, whom nobody here watches for: what
    // those cost is worth knowing.
    isJudged: false,
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
    results.set(candidate, await measure(candidate, server, options, cores, cleanup))
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

/** What a round took of the server. */
interface Round {
  /** CPU time for each connect. */
  us: number
  /** Share of a core: far below 1, it was waiting for the clients, and each wait is charged to it. */
  busy: number
}

async function measure(
  { title }: Candidate,
  server: Server,
  { connections, rounds }: ConnectsOptions,
  cores: Cores,
  cleanup: Cleanup,
): Promise<Round[]> {
  const measured: Round[] = []
  const clients = new Subscribers()
  cleanup.defer(() => clients.stop())
  pin(clients.pid, cores.subscribers)
  for (let round = -WARM_UP_ROUNDS; round < rounds; round += 1) {
    const protocol = server.name === 'fanfare' ? 'centrifuge' : 'raw'
    const where = {
      url: server.url,
      access: server.access,
      protocol,
      rooms: ROOMS,
      roomsEach: ROOMS_EACH,
    } as const
    const startedCpuNs = cpuTimeNs(server.pid)
    const { connectedInMs = 0 } = await clients.connect({ ...where, connections })
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
    `\n${options.connections} connects a round, ${ROOMS_EACH} subscriptions each\n\n${formatTable([head, ...rows])}\n`,
  )
  let holdsAll = true
  for (const [{ title, isJudged }, rounds] of results) {
    if (!isJudged) continue
    const { median } = spreadOf(rounds.map(({ us }) => us))
    const holds = 1e6 / median >= MIN_CONNECTS_PER_CPU_SECOND
    holdsAll &&= holds || options.isSmoke
    const outcome = options.isSmoke ? 'note' : holds ? 'pass' : 'FAIL'
    console.log(
      `${outcome}  ${title}: at least ${MIN_CONNECTS_PER_CPU_SECOND} connects for a second of CPU time`,
    )
  }
  return holdsAll ? 0 : 1
}
