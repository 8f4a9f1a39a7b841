/** Many rooms, everybody speaks: each virtual user holds a few whole rooms, whose members are spread over all nodes. */

import exec from 'k6/execution'
import type { Options } from 'k6/options'
import { countMissing, summaryTrendStats, thresholds } from './measures.js'
import { Member, untilReceived } from './member.js'
import { size, urlOf } from './settings.js'

const ROOMS_PER_USER = 10

const rooms = size('ROOMS', 100, 20)
const membersPerRoom = size('MEMBERS', 5, 5)
/** Messages a second of each member. */
const ratePerSecond = size('RATE', 1, 1)
const seconds = size('SECONDS', 30, 6)

/** From the last message until what has not arrived counts as missing. */
const LAST_DELIVERIES_MS = 10_000

/** Between opening the last connection and the first message. */
const PAUSE_MS = 500

const users = Math.ceil(rooms / ROOMS_PER_USER)

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
  /** Keeps the rooms of one run apart from those of another. */
  id: string
}

export function setup(): Run {
  return { id: Math.random().toString(36).slice(2, 10) }
}

export default async function (run: Run): Promise<void> {
  const user = exec.vu.idInTest - 1
  const roomNames = Array.from({ length: rooms }, (_, room) => room)
    .filter((room) => room % users === user)
    .map((room) => `chat-${run.id}-${room}`)
  const connecting = roomNames.flatMap((room) =>
    Array.from({ length: membersPerRoom }, (_, index) =>
      Member.connect(urlOf(index), room, `member-${index}`),
    ),
  )
  const members = (await Promise.all(connecting)).filter((member) => member !== undefined)

  const messages = Math.round(ratePerSecond * seconds)
  const startMs = Date.now() + PAUSE_MS
  const intervalMs = 1000 / ratePerSecond
  await Promise.all(
    members.map((member) => member.speak(messages, ratePerSecond, startMs + Math.random() * intervalMs)),
  )
  const expected = connecting.length * (membersPerRoom - 1) * messages
  countMissing(expected - (await untilReceived(members, expected, Date.now() + LAST_DELIVERIES_MS)))
  for (const member of members) member.leave()
}
