import { RedisServer } from '../../test/support/redis-server.js'
import { ensureInstalled } from '../../test/support/system-packages.js'
import type { Cleanup } from '../cleanup.js'
import { pin, requireLinux, shareCores } from '../process-usage.js'
import type { ServerName } from '../servers.js'
import { Contestant, type Round } from './contestant.js'
import { type CpuOptions, parseCpuOptions } from './options.js'
import { planRate, type RatePlan } from './plan.js'
import { formatRatios, formatServers, judge, type RateResult } from './report.js'

/** Compares CPU per verified delivery with the peers; returns the exit code. */
export async function runCpu(args: string[], cleanup: Cleanup): Promise<number> {
  const options = parseCpuOptions(args)
  requireLinux()
  ensureInstalled(['redis-server'])
  const contestants = await startContestants(options, cleanup)
  const results: RateResult[] = []
  for (const ratePerSecond of options.ratesPerSecond) {
    const plan = planRate(ratePerSecond, options)
    results.push(await measureRate(plan, options.seconds, contestants))
  }
  return report(results, options)
}

async function startContestants(options: CpuOptions, cleanup: Cleanup): Promise<Map<ServerName, Contestant>> {
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  const cores = shareCores()
  pin(redis.pid, cores.others)
  if (cores.server === undefined)
    console.log('No two cores, or no taskset: nothing is pinned, expect more noise.')
  const contestantOptions = {
    subscriberCount: options.subscribers,
    protocol: options.protocol,
    redisUrl: redis.url,
    cores,
  }
  const contestants = new Map<ServerName, Contestant>()
  for (const name of options.servers) {
    console.log(`starting ${name} with ${options.subscribers} subscribers`)
    const contestant = await Contestant.start(name, contestantOptions)
    cleanup.defer(() => contestant.stop())
    contestants.set(name, contestant)
  }
  return contestants
}

async function measureRate(
  plan: RatePlan,
  seconds: number,
  contestants: ReadonlyMap<ServerName, Contestant>,
): Promise<RateResult> {
  const rounds = new Map<ServerName, Round[]>()
  const measured = (name: ServerName, round: Round) => {
    rounds.set(name, [...(rounds.get(name) ?? []), round])
    return `${name} ${round.cpuUsPerDelivery.toFixed(2)} µs, p99 ${round.tally.p99Ms.toFixed(1)} ms${round.isComplete ? '' : ' (behind)'}`
  }
  for (const [index, pair] of plan.pairs.entries()) {
    const progress: string[] = []
    for (const name of pair) {
      const round = await contestants.get(name)?.round(plan.ratePerSecond, seconds)
      if (round !== undefined) progress.push(measured(name, round))
    }
    console.log(`${plan.ratePerSecond}/s, pair ${index + 1} of ${plan.pairs.length}: ${progress.join('; ')}`)
  }
  for (let index = 0; index < plan.overloadRounds; index += 1) {
    const round = await contestants.get('ws')?.overload(plan.ratePerSecond, seconds)
    if (round !== undefined) console.log(`${plan.ratePerSecond}/s: ${measured('ws', round)}`)
  }
  return { ratePerSecond: plan.ratePerSecond, rounds, bars: plan.bars }
}

function report(results: RateResult[], options: CpuOptions): number {
  console.log(
    `\nCPU of the server per verified delivery, ${options.subscribers} subscribers (Fanfare's: ${options.protocol}), 128-byte messages`,
  )
  console.log(`\n${formatServers(results)}\n\n${formatRatios(results)}\n`)
  const verdicts = judge(results)
  const counted = verdicts.filter((verdict) => verdict.of === 'delivery' || !options.isSmoke)
  for (const verdict of verdicts) {
    const outcome = !counted.includes(verdict) ? 'note' : verdict.holds ? 'pass' : 'FAIL'
    console.log(`${outcome}  ${verdict.text}`)
  }
  return counted.every((verdict) => verdict.holds) ? 0 : 1
}
