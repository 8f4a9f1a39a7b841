import { medianOf, type Spread, spreadOf } from '../cpu/statistics.js'
import type { Requirement } from '../requirements.js'
import { formatTable } from '../table.js'
import { TRANSPORTS, type Transport } from './requests.js'

/** What relaying a publication may cost Redis, as a share of one PUBLISH for it. */
const MAX_RATIO = 1 / 3
/** A machine that falls behind the rate by more has not held it. */
const LEAST_HELD = 0.98
export const TITLES = { fanfare: 'Fanfare', ioredis: 'PUBLISH by ioredis' } as const

export interface RelayOptions {
  /** Publications a second of all nodes together. */
  rate: number
  nodes: number
  channels: string[]
  seconds: number
  rounds: number
  isSmoke: boolean
}

/** What was measured of one transport. */
export interface Round {
  /** CPU time of Redis for each publication. */
  redisUs: number
  /** CPU time of the nodes for each publication, receiving it on all of them included. */
  nodesUs: number
  /** Publications in a message of Redis. */
  packed: number
  /** Publications a second. */
  rate: number
  isComplete: boolean
}

export interface RelayReport {
  /** The table, and a note for each transport whose rate the machine did not hold. */
  text: string
  requirements: Requirement[]
}

/** Reports the rounds, of which the n-th of each transport belong together. */
export function reportRelay(
  rounds: Readonly<Record<Transport, readonly Round[]>>,
  { rate, nodes, channels }: Pick<RelayOptions, 'rate' | 'nodes' | 'channels'>,
): RelayReport {
  const head = ['', 'µs of Redis', 'min', 'q1', 'q3', 'max', 'µs of nodes', 'packed', 'rate held']
  const rows = TRANSPORTS.map((transport) => rowOf(transport, rounds[transport]))
  const ratios = rounds.fanfare.map(
    ({ redisUs }, pair) => redisUs / (rounds.ioredis[pair]?.redisUs ?? Number.NaN),
  )
  const { median: ratio, ...range } = spreadOf(ratios)
  const title = `${rate} publications/s of ${nodes} nodes to ${channels.length} channels, all received by each node`
  const table = formatTable([head, ...rows, ['Fanfare / PUBLISH', ratio.toFixed(2), ...rangeOf(range)]])
  const notes = TRANSPORTS.flatMap((transport) => {
    const held = leastRate(rounds[transport])
    return held >= LEAST_HELD * rate
      ? []
      : [`note  this machine held ${held.toFixed(0)} publications/s of ${rate} with ${TITLES[transport]}\n`]
  })
  const requirements = [
    {
      text: `CPU of Redis a publication ${ratio.toFixed(2)} × that of one PUBLISH, at most ${MAX_RATIO.toFixed(2)}`,
      isMet: ratio <= MAX_RATIO,
      appliesToSmoke: false,
    },
    ...TRANSPORTS.map((transport) => ({
      text: `${TITLES[transport]}: every publication received by each node, once and in order`,
      isMet: rounds[transport].every(({ isComplete }) => isComplete),
      appliesToSmoke: true,
    })),
  ]
  return { text: `\n${title}\n\n${table}\n\n${notes.join('')}`.trimEnd(), requirements }
}

function rowOf(transport: Transport, rounds: readonly Round[]): string[] {
  const { median, ...range } = spreadOf(rounds.map(({ redisUs }) => redisUs))
  return [
    TITLES[transport],
    median.toFixed(2),
    ...rangeOf(range),
    medianOf(rounds.map(({ nodesUs }) => nodesUs)).toFixed(1),
    medianOf(rounds.map(({ packed }) => packed)).toFixed(2),
    leastRate(rounds).toFixed(0),
  ]
}

function leastRate(rounds: readonly Round[]): number {
  return Math.min(...rounds.map(({ rate }) => rate))
}

function rangeOf({ min, q1, q3, max }: Omit<Spread, 'median'>): string[] {
  return [min, q1, q3, max].map((value) => value.toFixed(2))
}
