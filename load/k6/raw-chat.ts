/**
 * Many channels in which every client publishes. Each virtual user has all clients of a few channels, spread over all
 * nodes.
 */

import exec from 'k6/execution'
import type { Options } from 'k6/options'
import { countMissing, summaryTrendStats, thresholds } from './metrics.js'
import { RawClient, untilReceived } from './raw-client.js'
import { size, urlOf } from './settings.js'

const CHANNELS_PER_USER = 10

const channels = size('CHANNELS', 100, 20)
const clientsPerChannel = size('CLIENTS', 5, 5)
/** Messages a second of each client. */
const ratePerSecond = size('RATE', 1, 1)
const seconds = size('SECONDS', 30, 6)

/** From the last message until what has not arrived counts as missing. */
const LAST_DELIVERIES_MS = 10_000

/** Between opening the last connection and the first message. */
const PAUSE_MS = 500

const users = Math.ceil(channels / CHANNELS_PER_USER)

export const options: Options = {
  scenarios: {
    'raw-chat': {
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
  /** Part of the channels' names, so that runs have different channels. */
  id: string
}

export function setup(): Run {
  return { id: Math.random().toString(36).slice(2, 10) }
}

export default async function (run: Run): Promise<void> {
  const user = exec.vu.idInTest - 1
  const names = Array.from({ length: channels }, (_, channel) => channel)
    .filter((channel) => channel % users === user)
    .map((channel) => `chat-${run.id}-${channel}`)
  const connecting = names.flatMap((channel) =>
    Array.from({ length: clientsPerChannel }, (_, index) =>
      RawClient.connect(urlOf(index), channel, `client-${index}`),
    ),
  )
  const clients = (await Promise.all(connecting)).filter((client) => client !== undefined)

  const messages = Math.round(ratePerSecond * seconds)
  const startMs = Date.now() + PAUSE_MS
  const intervalMs = 1000 / ratePerSecond
  await Promise.all(
    clients.map((client) => client.publish(messages, ratePerSecond, startMs + Math.random() * intervalMs)),
  )
  const expected = connecting.length * (clientsPerChannel - 1) * messages
  countMissing(expected - (await untilReceived(clients, expected, Date.now() + LAST_DELIVERIES_MS)))
  for (const client of clients) client.disconnect()
}
