import type { Fault } from './fault.js'
import type { LedgerReport } from './ledger/ledger.js'
import type { ReadinessWatch } from './readiness-watch.js'
import type { SdkSubscriber } from './subscribers.js'

/** Times of a run in ms: the longest of each. */
export interface Measured {
  readonly publishSilenceMs: number
  readonly hearSilenceMs: number
  readonly slowestAnswerMs: number
}

/** What a fault demands beside the properties and was not met, a sentence each. */
export function* unmetDemands(
  { bars, epochs }: Fault,
  measured: Measured,
  ledger: LedgerReport,
  watch: ReadinessWatch | undefined,
  subscribers: readonly SdkSubscriber[],
): Iterable<string> {
  for (const [what, ms, maxMs = Number.POSITIVE_INFINITY] of [
    ['no publication was acknowledged for', measured.publishSilenceMs, bars.publishSilenceMs],
    ['a subscriber heard nothing for', measured.hearSilenceMs, bars.hearSilenceMs],
    ['a publish was answered after', measured.slowestAnswerMs, bars.answerMs],
  ] as const) {
    if (ms > maxMs) yield `${what} ${Math.round(ms)} ms, more than ${maxMs} ms`
  }
  for (const word of bars.ready ?? []) {
    if (watch?.hasSeen(word) !== true) yield `/ready has never said ${word}`
  }
  if (bars.isUnnoticed === true) {
    const lost = subscribers.flatMap(({ name, lost: codes }) => codes.map((code) => `${name} (${code})`))
    if (lost.length > 0) yield `clients lost their connection: ${lost.join(', ')}`
    if (ledger.told > 0) yield `${ledger.told} subscriptions had to begin anew`
  }
  if (epochs === 'ended' && ledger.epochs < 2) yield 'no new epoch began'
}
