import type { Protocol } from '../clients/requests.js'
import type { ServerName } from '../servers.js'
import type { CpuOptions } from './options.js'

/** The highest rate at which a loop of sends keeps up with 1,000 subscribers, so that its CPU can be compared. */
const MAX_WS_RATE = 100

/** Rounds at a higher rate, which show whether the loop of sends falls behind. */
const OVERLOAD_ROUNDS = 2

/**
 * Pairs of each rate for which the same processes are used: an A B B A. Two processes of one program differ in what V8
 * has compiled and where its heap lies, and therefore in CPU time by a tenth for as long as they live, so the pairs have
 * to be of many processes.
 */
const PAIRS_OF_A_PROCESS = 2

/** The ratio of a server's CPU per delivery to a baseline's. */
export interface Comparison {
  server: ServerName
  baseline: 'uws' | 'ws'
  /** The highest that is allowed; undefined when the ratio is only shown. */
  maxRatio: number | undefined
}

/** A push of the Centrifuge protocol is twice as long as what the baselines send. */
const MAX_OF_UWS: Readonly<Record<Protocol, number>> = { raw: 1.15, centrifuge: 1.2 }
const MAX_OF_WS = 0.7

/** A round of each server at a rate, one after the other. */
export interface Turn {
  ratePerSecond: number
  order: ServerName[]
}

/** Servers that are started, measured in turns, and stopped. */
export interface Step {
  servers: ServerName[]
  turns: Turn[]
}

/** Every rate is measured in each step, so that each rate is measured with the same number of processes. */
export function planSteps(options: CpuOptions): Step[] {
  const { pairs, servers, ratesPerSecond } = options
  const steps: Step[] = []
  for (let first = 0; first < pairs; first += PAIRS_OF_A_PROCESS) {
    const count = Math.min(PAIRS_OF_A_PROCESS, pairs - first)
    const turns = ratesPerSecond.flatMap((rate) => planPairs(rate, count, servers))
    const measured = servers.filter((name) => turns.some(({ order }) => order.includes(name)))
    steps.push({ servers: measured, turns })
  }
  const overload = ratesPerSecond.filter((rate) => rate > MAX_WS_RATE && servers.includes('ws'))
  const turns = overload.map((ratePerSecond): Turn => ({ ratePerSecond, order: ['ws'] }))
  if (turns.length > 0) {
    for (let round = 0; round < OVERLOAD_ROUNDS; round += 1) steps.push({ servers: ['ws'], turns })
  }
  return steps
}

/**
 * Pairs in the order A B B A: each comparison's two rounds are next to each other, and every second pair runs
 * backwards, so that a machine that gets slower or faster favours neither. Fanfare is in the middle and makes a pair
 * with both baselines.
 */
function planPairs(ratePerSecond: number, count: number, servers: readonly ServerName[]): Turn[] {
  const all: ServerName[] = ratePerSecond <= MAX_WS_RATE ? ['uws', 'fanfare', 'ws'] : ['uws', 'fanfare']
  const order = all.filter((name) => servers.includes(name))
  return Array.from({ length: count }, (_, index) => ({
    ratePerSecond,
    order: index % 2 === 0 ? order : [...order].reverse(),
  }))
}

/**
 * Lists the comparisons of the servers that are measured in pairs at a rate. The ratio of bare uWS to `ws` is the least
 * that one send for each delivery can cost.
 */
export function comparisonsAt(ratePerSecond: number, { servers, protocol }: CpuOptions): Comparison[] {
  const comparisons: Comparison[] = [{ server: 'fanfare', baseline: 'uws', maxRatio: MAX_OF_UWS[protocol] }]
  if (ratePerSecond <= MAX_WS_RATE) {
    comparisons.push({ server: 'fanfare', baseline: 'ws', maxRatio: MAX_OF_WS })
    comparisons.push({ server: 'uws', baseline: 'ws', maxRatio: undefined })
  }
  return comparisons.filter(({ server, baseline }) => servers.includes(server) && servers.includes(baseline))
}
