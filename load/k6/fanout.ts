/** One channel, one publisher, many subscribers, spread over all nodes and over virtual users. */
import exec from 'k6/execution'
import type { Options } from 'k6/options'
import { connectionFailures, countMissing, summaryTrendStats, thresholds } from './metrics.js'
import { RawClient, sleepUntil, untilReceived } from './raw-client.js'
import { size, urlOf } from './settings.js'

const SUBSCRIBERS_PER_USER = 50

const subscribers = size('SUBSCRIBERS', 300, 100)
/** Messages a second. */
const ratePerSecond = size('RATE', 20, 10)
const seconds = size('SECONDS', 30, 6)

/** Virtual users cannot wait for each other: one that has not connected all its clients by then counts as a failure. */
const CONNECT_MS = 5_000

/** From when the last message was due until what has not arrived counts as missing. */
const LAST_DELIVERIES_MS = 10_000

const users = Math.ceil(subscribers / SUBSCRIBERS_PER_USER)

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
  channel: string
  /** When the publisher begins. */
  startMs: number
}

export function setup(): Run {
  return { channel: `fanout-${Math.random().toString(36).slice(2, 10)}`, startMs: Date.now() + CONNECT_MS }
}

export default async function (run: Run): Promise<void> {
  const user = exec.vu.idInTest - 1
  const share = Math.floor(subscribers / users) + (user < subscribers % users ? 1 : 0)
  const connecting = Array.from({ length: share }, (_, index) =>
    RawClient.connect(urlOf(user + index), run.channel, `subscriber-${user}-${index}`),
  )
  const publisher = user === 0 ? await RawClient.connect(urlOf(0), run.channel, 'publisher') : undefined
  const clients = (await Promise.all(connecting)).filter((client) => client !== undefined)
  if (Date.now() > run.startMs) {
    console.error(`virtual user ${user + 1} was not connected when the publisher began`)
    connectionFailures.add(1)
  }

  const messages = Math.round(ratePerSecond * seconds)
  await publisher?.publish(messages, ratePerSecond, run.startMs)
  const expected = share * messages
  const lastDueMs = run.startMs + seconds * 1000
  countMissing(expected - (await untilReceived(clients, expected, lastDueMs + LAST_DELIVERIES_MS)))
  // The publisher's user may be done first; no client disconnects before the last message was due.
  await sleepUntil(lastDueMs)
  publisher?.disconnect()
  for (const client of clients) client.disconnect()
}
