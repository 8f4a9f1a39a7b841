import type { Requirement } from '../requirements.js'
import type { ServerName } from '../servers.js'
import { formatTable } from '../table.js'
import type { Round } from './benchmark-channel.js'
import type { Comparison } from './plan.js'
import { medianOf, type Spread, spreadOf } from './statistics.js'

/** A server keeps up with a rate when its p99 latency is below this. */
const KEEP_UP_P99_MS = 50

/** The rate from which on Fanfare has to keep up and `ws` with a loop of sends must not. */
const KEEP_UP_RATE = 1000

const SERVER_TITLES = { fanfare: 'Fanfare', uws: 'uWS + ioredis', ws: 'ws + ioredis' } as const

/** What was measured at one rate. The n-th round of each server belongs to the n-th pair. */
export interface RateResult {
  ratePerSecond: number
  rounds: Map<ServerName, Round[]>
  comparisons: Comparison[]
}

function keepsUp(rounds: readonly Round[]): boolean {
  return rounds.every((round) => round.isComplete) && p99Of(rounds) < KEEP_UP_P99_MS
}

function p99Of(rounds: readonly Round[]): number {
  return medianOf(rounds.map((round) => round.deliveries.p99Ms))
}

/** The ratio of the server's CPU per delivery to the baseline's, for each pair. */
function ratiosOf({ server, baseline }: Comparison, { rounds }: RateResult): number[] {
  const measured = rounds.get(server) ?? []
  return (rounds.get(baseline) ?? []).flatMap((baselineRound, pair) => {
    const round = measured[pair]
    return round === undefined ? [] : [round.cpuUsPerDelivery / baselineRound.cpuUsPerDelivery]
  })
}

/** The requirements at each rate. */
export function listRequirements(results: readonly RateResult[]): Requirement[] {
  return results.flatMap((result) => [
    ...ratioRequirements(result),
    ...keepUpRequirements(result),
    ...deliveryRequirements(result),
  ])
}

function ratioRequirements(result: RateResult): Requirement[] {
  return result.comparisons.flatMap((comparison) => {
    const { baseline, maxRatio } = comparison
    if (maxRatio === undefined) return []
    const ratio = medianOf(ratiosOf(comparison, result))
    return {
      text: `${result.ratePerSecond}/s: CPU per delivery ${ratio.toFixed(2)} × ${baseline} + ioredis, at most ${maxRatio}`,
      isMet: ratio <= maxRatio,
      appliesToSmoke: false,
    }
  })
}

function keepUpRequirements({ ratePerSecond, rounds }: RateResult): Requirement[] {
  if (ratePerSecond < KEEP_UP_RATE) return []
  const requirements: Requirement[] = []
  const fanfare = rounds.get('fanfare')
  if (fanfare !== undefined) {
    const p99 = `p99 ${p99Of(fanfare).toFixed(1)} ms, under ${KEEP_UP_P99_MS} ms`
    requirements.push({
      text: `${ratePerSecond}/s: Fanfare keeps up, ${p99}`,
      isMet: keepsUp(fanfare),
      appliesToSmoke: false,
    })
  }
  const ws = rounds.get('ws')
  if (ws !== undefined) {
    requirements.push({
      text: `${ratePerSecond}/s: ws + ioredis does not keep up`,
      isMet: !keepsUp(ws),
      appliesToSmoke: false,
    })
  }
  return requirements
}

/** Baselines may fall behind, but no server may repeat, reorder or lose deliveries. */
function deliveryRequirements({ ratePerSecond, rounds }: RateResult): Requirement[] {
  return [...rounds].map(([name, measured]) => {
    const wrong = measured.reduce(
      (sum, { deliveries }) => sum + deliveries.missed + deliveries.repeated + deliveries.malformed,
      0,
    )
    const ended = measured.reduce((sum, { deliveries }) => sum + deliveries.ended, 0)
    const late = measured.filter((round) => !round.isComplete).length
    const counts = `${late} rounds incomplete, ${wrong} deliveries wrong, ${ended} connections ended`
    return {
      text: `${ratePerSecond}/s: ${SERVER_TITLES[name]} delivers once and in order (${counts})`,
      isMet: wrong === 0 && ended === 0 && (late === 0 || name !== 'fanfare'),
      appliesToSmoke: true,
    }
  })
}

function fixed(values: number[], digits: number): string[] {
  return values.map((value) => value.toFixed(digits))
}

export function formatServers(results: readonly RateResult[]): string {
  const head = [
    'server',
    'rate/s',
    'rounds',
    'µs/delivery',
    'min',
    'q1',
    'q3',
    'max',
    'p50 ms',
    'p99 ms',
    'verified',
    'keeps up',
    'generator',
    'late ms',
  ]
  const rows = results.flatMap(({ ratePerSecond, rounds }) =>
    [...rounds].map(([name, measured]) => {
      const cpu = spreadOf(measured.map((round) => round.cpuUsPerDelivery))
      const verified = measured.reduce((sum, { deliveries }) => sum + deliveries.verified, 0)
      const expected = measured.reduce((sum, { deliveries }) => sum + deliveries.expected, 0)
      return [
        SERVER_TITLES[name],
        String(ratePerSecond),
        String(measured.length),
        ...fixed([cpu.median, cpu.min, cpu.q1, cpu.q3, cpu.max], 2),
        ...fixed([medianOf(measured.map((round) => round.deliveries.p50Ms)), p99Of(measured)], 1),
        `${((verified / expected) * 100).toFixed(2)} %`,
        keepsUp(measured) ? 'yes' : 'no',
        `${(medianOf(measured.map((round) => round.generatorShare)) * 100).toFixed(0)} %`,
        medianOf(measured.map((round) => round.publisherLateMs)).toFixed(1),
      ]
    }),
  )
  return formatTable([head, ...rows])
}

export function formatRatios(results: readonly RateResult[]): string {
  const head = ['server', 'against', 'rate/s', 'pairs', 'median', 'min', 'q1', 'q3', 'max', 'bar']
  const rows = results.flatMap((result) =>
    result.comparisons.map((comparison) => {
      const { server, baseline, maxRatio } = comparison
      const ratios = ratiosOf(comparison, result)
      const spread: Spread = spreadOf(ratios)
      return [
        SERVER_TITLES[server],
        SERVER_TITLES[baseline],
        String(result.ratePerSecond),
        String(ratios.length),
        ...fixed([spread.median, spread.min, spread.q1, spread.q3, spread.max], 2),
        maxRatio === undefined ? '' : `≤ ${maxRatio}`,
      ]
    }),
  )
  return formatTable([head, ...rows])
}
