import type { ServerName } from '../servers.js'
import { formatTable } from '../table.js'
import type { Comparison } from './plan.js'
import type { Round } from './room.js'
import { medianOf, type Spread, spreadOf } from './statistics.js'

/** Latency up to which a server is said to keep up. */
export const KEEP_UP_P99_MS = 50

/** The rate at which Fanfare has to keep up and `ws` with a loop of sends is known not to. */
export const KEEP_UP_RATE = 1000

const SERVER_TITLES = { fanfare: 'Fanfare', uws: 'uWS + ioredis', ws: 'ws + ioredis' } as const

/** Everything measured at one rate: each server's rounds, the n-th of each belonging to the n-th pair. */
export interface RateResult {
  ratePerSecond: number
  rounds: Map<ServerName, Round[]>
  comparisons: Comparison[]
}

/** One thing that was demanded, and whether it held. */
export interface Verdict {
  /** A smoke run is held to `delivery` alone. */
  of: 'cpu' | 'latency' | 'delivery'
  text: string
  holds: boolean
}

export function keepsUp(rounds: readonly Round[]): boolean {
  return rounds.every((round) => round.isComplete) && p99Of(rounds) < KEEP_UP_P99_MS
}

function p99Of(rounds: readonly Round[]): number {
  return medianOf(rounds.map((round) => round.tally.p99Ms))
}

/** The server's CPU per delivery over the peer's, pair by pair. */
function ratiosOf({ server, peer }: Comparison, { rounds }: RateResult): number[] {
  const ours = rounds.get(server) ?? []
  return (rounds.get(peer) ?? []).flatMap((theirs, pair) => {
    const our = ours[pair]
    return our === undefined ? [] : [our.cpuUsPerDelivery / theirs.cpuUsPerDelivery]
  })
}

export function judge(results: readonly RateResult[]): Verdict[] {
  return results.flatMap((result) => [
    ...judgeRatios(result),
    ...judgeKeepingUp(result),
    ...judgeDelivery(result),
  ])
}

function judgeRatios(result: RateResult): Verdict[] {
  return result.comparisons.flatMap((comparison) => {
    const { peer, maxRatio } = comparison
    if (maxRatio === undefined) return []
    const ratio = medianOf(ratiosOf(comparison, result))
    return {
      of: 'cpu',
      text: `${result.ratePerSecond}/s: CPU per delivery ${ratio.toFixed(2)} × ${peer} + ioredis, at most ${maxRatio}`,
      holds: ratio <= maxRatio,
    }
  })
}

function judgeKeepingUp({ ratePerSecond, rounds }: RateResult): Verdict[] {
  if (ratePerSecond < KEEP_UP_RATE) return []
  const verdicts: Verdict[] = []
  const fanfare = rounds.get('fanfare')
  if (fanfare !== undefined) {
    const p99 = `p99 ${p99Of(fanfare).toFixed(1)} ms, under ${KEEP_UP_P99_MS} ms`
    verdicts.push({
      of: 'latency',
      text: `${ratePerSecond}/s: Fanfare keeps up, ${p99}`,
      holds: keepsUp(fanfare),
    })
  }
  const ws = rounds.get('ws')
  if (ws !== undefined) {
    verdicts.push({
      of: 'latency',
      text: `${ratePerSecond}/s: ws + ioredis does not keep up`,
      holds: !keepsUp(ws),
    })
  }
  return verdicts
}

/** Peers may fall behind, but nobody may deliver anything twice or out of order, or leave anything out. */
function judgeDelivery({ ratePerSecond, rounds }: RateResult): Verdict[] {
  return [...rounds].map(([name, measured]) => {
    const wrong = measured.reduce(
      (sum, { tally }) => sum + tally.missed + tally.repeated + tally.malformed,
      0,
    )
    const ended = measured.reduce((sum, { tally }) => sum + tally.ended, 0)
    const late = measured.filter((round) => !round.isComplete).length
    const counts = `${late} rounds incomplete, ${wrong} deliveries wrong, ${ended} connections ended`
    return {
      of: 'delivery',
      text: `${ratePerSecond}/s: ${SERVER_TITLES[name]} delivers once and in order (${counts})`,
      holds: wrong === 0 && ended === 0 && (late === 0 || name !== 'fanfare'),
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
      const verified = measured.reduce((sum, { tally }) => sum + tally.verified, 0)
      const expected = measured.reduce((sum, { tally }) => sum + tally.expected, 0)
      return [
        SERVER_TITLES[name],
        String(ratePerSecond),
        String(measured.length),
        ...fixed([cpu.median, cpu.min, cpu.q1, cpu.q3, cpu.max], 2),
        ...fixed([medianOf(measured.map((round) => round.tally.p50Ms)), p99Of(measured)], 1),
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
      const { server, peer, maxRatio } = comparison
      const ratios = ratiosOf(comparison, result)
      const spread: Spread = spreadOf(ratios)
      return [
        SERVER_TITLES[server],
        SERVER_TITLES[peer],
        String(result.ratePerSecond),
        String(ratios.length),
        ...fixed([spread.median, spread.min, spread.q1, spread.q3, spread.max], 2),
        maxRatio === undefined ? '' : `≤ ${maxRatio}`,
      ]
    }),
  )
  return formatTable([head, ...rows])
}
