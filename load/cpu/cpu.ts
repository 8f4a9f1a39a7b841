import { setTimeout as sleep } from 'node:timers/promises'
import { RedisServer } from '../../test/support/redis-server.js'
import { ensureInstalled } from '../../test/support/system-packages.js'
import type { Cleanup } from '../cleanup.js'
import { pin, requireLinux, shareCores } from '../process-usage.js'
import type { ServerName } from '../servers.js'
import { Contestant, type ContestantOptions } from './contestant.js'
import { type CpuOptions, parseCpuOptions } from './options.js'
import { comparisonsAt, planSteps, type Turn } from './plan.js'
import { formatRatios, formatServers, judge, type RateResult } from './report.js'
import type { Round } from './room.js'

/**
 * V8 collects garbage again and again while a process is young and idle, for 20 to 50 ms of CPU each: as much as a third
 * of a second of 20/s costs. So long after its warm-up a server is done with it.
 */
const SETTLING_MS = 30_000

/** Compares CPU per verified delivery with the peers; returns the exit code. */
export async function runCpu(args: string[], cleanup: Cleanup): Promise<number> {
  const options = parseCpuOptions(args)
  requireLinux()
  ensureInstalled(['redis-server'])
  const contestantOptions = await prepare(options, cleanup)
  const results = new Map(
    options.ratesPerSecond.map((ratePerSecond): [number, RateResult] => [
      ratePerSecond,
      { ratePerSecond, rounds: new Map(), comparisons: comparisonsAt(ratePerSecond, options) },
    ]),
  )
  const steps = planSteps(options)
  for (const [index, step] of steps.entries()) {
    console.log(`${index + 1} of ${steps.length}: starting ${step.servers.join(', ')}`)
    const contestants = await startContestants(step.servers, contestantOptions, cleanup)
    if (!options.isSmoke) await settle([...contestants.values()])
    for (const turn of step.turns) {
      const rounds = await measure(turn, options.seconds, contestants)
      for (const [name, round] of rounds) addRound(results.get(turn.ratePerSecond), name, round)
    }
    await Promise.all([...contestants.values()].map((contestant) => contestant.stop()))
  }
  return report([...results.values()], options)
}

async function prepare(options: CpuOptions, cleanup: Cleanup): Promise<ContestantOptions> {
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  const cores = shareCores()
  pin(redis.pid, cores.others)
  if (cores.server === undefined)
    console.log('No two cores, or no taskset: nothing is pinned, expect more noise.')
  const { subscribers: subscriberCount, protocol, settings } = options
  return { subscriberCount, protocol, settings, redisUrl: redis.url, cores }
}

async function startContestants(
  names: readonly ServerName[],
  options: ContestantOptions,
  cleanup: Cleanup,
): Promise<Map<ServerName, Contestant>> {
  const contestants = new Map<ServerName, Contestant>()
  for (const name of names) {
    const contestant = await Contestant.start(name, options)
    cleanup.defer(() => contestant.stop())
    contestants.set(name, contestant)
  }
  return contestants
}

/** Warms up twice: what idle-time collections find unused, compiled code among it, is gone after them. */
async function settle(contestants: readonly Contestant[]): Promise<void> {
  console.log('warming up, and waiting until they have settled')
  for (const contestant of contestants) await contestant.warmUp()
  await sleep(SETTLING_MS)
  for (const contestant of contestants) await contestant.warmUp()
}

async function measure(
  { ratePerSecond, order }: Turn,
  seconds: number,
  contestants: ReadonlyMap<ServerName, Contestant>,
): Promise<Map<ServerName, Round>> {
  const rounds = new Map<ServerName, Round>()
  for (const name of order) {
    const round = await contestants.get(name)?.round(ratePerSecond, seconds)
    if (round !== undefined) rounds.set(name, round)
  }
  const progress = [...rounds].map(
    ([name, { cpuUsPerDelivery, tally, isComplete }]) =>
      `${name} ${cpuUsPerDelivery.toFixed(2)} µs, p99 ${tally.p99Ms.toFixed(1)} ms${isComplete ? '' : ' (behind)'}`,
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
  const verdicts = judge(results)
  const counted = verdicts.filter((verdict) => verdict.of === 'delivery' || !options.isSmoke)
  for (const verdict of verdicts) {
    const outcome = !counted.includes(verdict) ? 'note' : verdict.holds ? 'pass' : 'FAIL'
    console.log(`${outcome}  ${verdict.text}`)
  }
  return counted.every((verdict) => verdict.holds) ? 0 : 1
}
