import type { Protocol } from '../clients/requests.js'
import type { ServerName } from '../servers.js'
import type { CpuOptions } from './options.js'

/** The highest rate at which a loop of sends keeps up with 1,000 subscribers, so that its CPU can be compared. */
const MAX_WS_RATE = 100

/** Rounds that show whether the naive server falls behind at a higher rate. */
const OVERLOAD_ROUNDS = 2

export interface Bar {
  peer: 'uws' | 'ws'
  /** The most that Fanfare's CPU per delivery may be of the peer's. */
  maxRatio: number
}

/** A push of the Centrifuge protocol is twice as long as what the peers send. */
const UWS_BARS: Readonly<Record<Protocol, Bar>> = {
  raw: { peer: 'uws', maxRatio: 1.15 },
  centrifuge: { peer: 'uws', maxRatio: 1.2 },
}
const WS_BAR: Bar = { peer: 'ws', maxRatio: 0.7 }

export interface RatePlan {
  ratePerSecond: number
  /** The servers of each pair, in the order of their rounds. */
  pairs: ServerName[][]
  /** Rounds of `ws` at a rate beyond it. */
  overloadRounds: number
  bars: Bar[]
}

/**
 * Pairs in the order A B B A: each comparison's two rounds are next to each other, and every second pair runs
 * backwards, so that a machine that gets slower or faster favours neither. Fanfare is in the middle and makes a pair
 * with both peers.
 */
export function planRate(ratePerSecond: number, { pairs, servers, protocol }: CpuOptions): RatePlan {
  const isWsCompared = ratePerSecond <= MAX_WS_RATE
  const order: ServerName[] = isWsCompared ? ['uws', 'fanfare', 'ws'] : ['uws', 'fanfare']
  const present = order.filter((name) => servers.includes(name))
  const bars = isWsCompared ? [UWS_BARS[protocol], WS_BAR] : [UWS_BARS[protocol]]
  return {
    ratePerSecond,
    pairs: Array.from({ length: present.length === 0 ? 0 : pairs }, (_, index) =>
      index % 2 === 0 ? present : [...present].reverse(),
    ),
    overloadRounds: !isWsCompared && servers.includes('ws') ? OVERLOAD_ROUNDS : 0,
    bars: bars.filter(({ peer }) => servers.includes(peer) && servers.includes('fanfare')),
  }
}
