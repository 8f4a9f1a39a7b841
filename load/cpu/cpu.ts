import { setTimeout as sleep } from 'node:timers/promises'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { ensureInstalled } from '../../deploy/local/system-packages.js'
import type { Cleanup } from '../cleanup.js'
import { pin, requireLinux, shareCores } from '../process-usage.js'
import { reportRequirements } from '../requirements.js'
import type { ServerName } from '../servers.js'
import type { Round } from './benchmark-channel.js'
import { MeasuredServer, type MeasuredServerOptions } from './measured-server.js'
import { type CpuOptions, parseCpuOptions } from './options.js'
import { comparisonsAt, planSteps, type Turn } from './plan.js'
import { formatRatios, formatServers, listRequirements, type RateResult } from './report.js'

/**
 * V8 collects garbage again and again while a process is young and idle, for 20 to 50 ms of CPU time each: as much as a
 * third of a second at 20/s costs. Within this time after its warm-up a server has finished that.
 */
const SETTLING_MS = 30_000

/** Compares CPU per verified delivery with the baselines; returns the exit code. */
export async function runCpu(args: string[], cleanup: Cleanup): Promise<number> {
  const options = parseCpuOptions(args)
  requireLinux()
  ensureInstalled(['redis-server'])
  const serverOptions = await prepare(options, cleanup)
  const results = new Map(
    options.ratesPerSecond.map((ratePerSecond): [number, RateResult] => [
      ratePerSecond,
      { ratePerSecond, rounds: new Map(), comparisons: comparisonsAt(ratePerSecond, options) },
    ]),
  )
  const steps = planSteps(options)
  for (const [index, step] of steps.entries()) {
    console.log(`${index + 1} of ${steps.length}: starting ${step.servers.join(', ')}`)
    const measured = await startServers(step.servers, serverOptions, cleanup)
    if (!options.isSmoke) await settle([...measured.values()])
    for (const turn of step.turns) {
      const rounds = await measureTurn(turn, options.seconds, measured)
      for (const [name, round] of rounds) addRound(results.get(turn.ratePerSecond), name, round)
    }
    await Promise.all([...measured.values()].map((server) => server.stop()))
  }
  return report([...results.values()], options)
}

async function prepare(options: CpuOptions, cleanup: Cleanup): Promise<MeasuredServerOptions> {
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  const cores = shareCores()
  pin(redis.pid, cores.others)
  if (cores.server === undefined)
    console.log('No two cores, or no taskset: nothing is pinned, expect more noise.')
  const { subscribers: subscriberCount, protocol, settings } = options
  return { subscriberCount, protocol, settings, redisUrl: redis.url, cores }
}

async function startServers(
  names: readonly ServerName[],
  options: MeasuredServerOptions,
  cleanup: Cleanup,
): Promise<Map<ServerName, MeasuredServer>> {
  const measured = new Map<ServerName, MeasuredServer>()
  for (const name of names) {
    const server = await MeasuredServer.start(name, options)
    cleanup.defer(() => server.stop())
    measured.set(name, server)
  }
  return measured
}

/** Warms up twice, because the collections of an idle process discard compiled code that was not used lately. */
async function settle(measured: readonly MeasuredServer[]): Promise<void> {
  console.log('warming up, and waiting until they have settled')
  for (const server of measured) await server.warmUp()
  await sleep(SETTLING_MS)
  for (const server of measured) await server.warmUp()
}

async function measureTurn(
  { ratePerSecond, order }: Turn,
  seconds: number,
  measured: ReadonlyMap<ServerName, MeasuredServer>,
): Promise<Map<ServerName, Round>> {
  const rounds = new Map<ServerName, Round>()
  for (const name of order) {
    const round = await measured.get(name)?.measureRound(ratePerSecond, seconds)
    if (round !== undefined) rounds.set(name, round)
  }
  const progress = [...rounds].map(
    ([name, { cpuUsPerDelivery, deliveries, isComplete }]) =>
      `${name} ${cpuUsPerDelivery.toFixed(2)} µs, p99 ${deliveries.p99Ms.toFixed(1)} ms${isComplete ? '' : ' (behind)'}`,
  )
  console.log(`${ratePerSecond}/s: ${progress.join('; ')}`)
  return rounds
}

function addRound(result: RateResult | undefined, name: ServerName, round: Round): void {
  result?.rounds.set(name, [...(result.rounds.get(name) ?? []), round])
}

function report(results: RateResult[], options: CpuOptions): number {
  console.log(
    `\nCPU of the server per verified delivery, ${options.subscribers} subscribers (Fanfare's: ${options.protocol}), 128-byte messages`,
  )
  for (const [name, value] of Object.entries(options.settings)) console.log(`Fanfare with ${name}=${value}`)
  console.log(`\n${formatServers(results)}\n\n${formatRatios(results)}\n`)
  return reportRequirements(listRequirements(results), options.isSmoke)
}
