/** One room, one speaker, many listeners, spread over all nodes and over virtual users. */
import exec from 'k6/execution'
import type { Options } from 'k6/options'
import { connectionFailures, countMissing, summaryTrendStats, thresholds } from './measures.js'
import { Member, sleepUntil, untilReceived } from './member.js'
import { size, urlOf } from './settings.js'

const LISTENERS_PER_USER = 50

const listeners = size('LISTENERS', 300, 100)
/** Messages a second. */
const ratePerSecond = size('RATE', 20, 10)
const seconds = size('SECONDS', 30, 6)

/** Virtual users cannot wait for each other: whoever has not connected by then counts as failed. */
const CONNECT_MS = 5_000

/** From when the last message was due until what has not arrived counts as missing. */
const LAST_DELIVERIES_MS = 10_000

const users = Math.ceil(listeners / LISTENERS_PER_USER)

export const options: Options = {
  scenarios: {
    fanout: {
      executor: 'per-vu-iterations',
      vus: users,
      iterations: 1,
      maxDuration: `${seconds + 60}s`,
    },
  },
  thresholds,
  summaryTrendStats,
}

interface Run {
  room: string
  /** When the speaker begins. */
  startMs: number
}

export function setup(): Run {
  return { room: `fanout-${Math.random().toString(36).slice(2, 10)}`, startMs: Date.now() + CONNECT_MS }
}

export default async function (run: Run): Promise<void> {
  const user = exec.vu.idInTest - 1
  const share = Math.floor(listeners / users) + (user < listeners % users ? 1 : 0)
  const connecting = Array.from({ length: share }, (_, index) =>
    Member.connect(urlOf(user + index), run.room, `listener-${user}-${index}`),
  )
  const speaker = user === 0 ? await Member.connect(urlOf(0), run.room, 'speaker') : undefined
  const members = (await Promise.all(connecting)).filter((member) => member !== undefined)
  if (Date.now() > run.startMs) {
    console.error(`virtual user ${user + 1} was not connected when the speaker began`)
    connectionFailures.add(1)
  }

  const messages = Math.round(ratePerSecond * seconds)
  await speaker?.speak(messages, ratePerSecond, run.startMs)
  const expected = share * messages
  const lastDueMs = run.startMs + seconds * 1000
  countMissing(expected - (await untilReceived(members, expected, lastDueMs + LAST_DELIVERIES_MS)))
  // The speaker's user may be done first; nobody leaves before the last message was due to all.
  await sleepUntil(lastDueMs)
  speaker?.leave()
  for (const member of members) member.leave()
}
