import type { LedgerEvent, Property } from './events.js'

/** Returns what the ledger is told instead of an event. */
type Breaking = (event: LedgerEvent) => readonly LedgerEvent[]

/** Decides which event is broken: one, the first that can be from a moment on that the seed chooses. */
interface Turn {
  /** Whether an event that can be broken is the one. */
  isDue(): boolean
  /** To be called when it is broken. */
  done(): void
}

interface SabotageKind {
  readonly property: Property
  readonly summary: string
  /** Whether it takes an event of which every run has many. */
  readonly isFrequent: boolean
  readonly begin: (turn: Turn) => Breaking
}

/** Higher than any offset of a run. */
const FAR = 1_000_000

/** Ways to break what a ledger is told, each of which it has to notice. */
export const SABOTAGES = {
  drop: {
    property: 'P1',
    summary: 'a subscriber does not receive a publication',
    isFrequent: true,
    begin: once((event) => (event.type === 'delivered' ? [] : undefined)),
  },
  repeat: {
    property: 'P2',
    summary: 'a subscriber receives a publication twice',
    isFrequent: true,
    begin: once((event) => (event.type === 'delivered' ? [event, event] : undefined)),
  },
  swap: {
    property: 'P3',
    summary: 'a subscriber receives two publications in the wrong order',
    isFrequent: true,
    begin: swapping,
  },
  forge: {
    property: 'P4',
    summary: 'a subscriber receives another publication at a position',
    isFrequent: true,
    begin: once((event) => {
      if (event.type !== 'delivered') return undefined
      const { atMs, channel } = event
      const id = `${event.id} forged`
      return [
        { type: 'sent', atMs, id, channel, publisher: 'forger', number: 1 },
        { ...event, id },
      ]
    }),
  },
  'false-recovered': {
    property: 'P5',
    summary: 'a subscriber is recovered without a publication that it missed',
    isFrequent: false,
    begin: once((event) =>
      event.type === 'subscribed' && event.recovered && event.publications.length > 0
        ? [{ ...event, publications: event.publications.slice(1) }]
        : undefined,
    ),
  },
  'refuse-recovery': {
    property: 'P6',
    summary: 'a subscriber is not recovered though nothing was lost',
    isFrequent: false,
    begin: once((event) =>
      event.type === 'subscribed' && event.recovered
        ? [{ ...event, recovered: false, publications: [] }]
        : undefined,
    ),
  },
  'wrong-channel': {
    property: 'P7',
    summary: 'a subscriber receives a publication of another channel',
    isFrequent: true,
    begin: once((event) =>
      event.type === 'delivered' ? [event, { ...event, channel: `not ${event.channel}` }] : undefined,
    ),
  },
  'after-unsubscribe': {
    property: 'P8',
    summary: 'a subscriber receives a publication after it has unsubscribed',
    isFrequent: false,
    begin: lagging,
  },
  'lose-history': {
    property: 'P9',
    summary: 'the history lacks an acknowledged publication',
    isFrequent: false,
    begin: forgetting,
  },
  'hide-gap': {
    property: 'P10',
    summary: 'a node counts a gap of which it has told nobody',
    isFrequent: false,
    begin: once((event) =>
      event.type === 'counted' ? [{ ...event, unrepairedGaps: event.unrepairedGaps + 1 }] : undefined,
    ),
  },
} as const satisfies Record<string, SabotageKind>

export type SabotageName = keyof typeof SABOTAGES

export const SABOTAGE_NAMES = Object.keys(SABOTAGES) as readonly SabotageName[]

/** Breaks one event of those for which the function returns what to tell instead. */
function once(
  breaking: (event: LedgerEvent) => readonly LedgerEvent[] | undefined,
): (turn: Turn) => Breaking {
  return (turn) => (event) => {
    const broken = breaking(event)
    if (broken === undefined || !turn.isDue()) return [event]
    turn.done()
    return broken
  }
}

/** Holds a publication back until the same subscriber has received the next one in the channel. */
function swapping(turn: Turn): Breaking {
  let held: Extract<LedgerEvent, { type: 'delivered' }> | undefined
  return (event) => {
    if (held === undefined) {
      if (event.type !== 'delivered' || !turn.isDue()) return [event]
      held = event
      return []
    }
    if (!('subscriber' in event) || event.subscriber !== held.subscriber) return [event]
    if ('channel' in event && event.channel !== held.channel) return [event]
    const late = held
    held = undefined
    if (event.type !== 'delivered') return [late, event]
    turn.done()
    return [event, late]
  }
}

/** Delivers once more, after a subscriber has unsubscribed, what was received last in the channel. */
function lagging(turn: Turn): Breaking {
  const latest = new Map<string, string>()
  return (event) => {
    if (event.type === 'delivered') latest.set(event.channel, event.id)
    if (event.type !== 'unsubscribed') return [event]
    const id = latest.get(event.channel)
    if (id === undefined || !turn.isDue()) return [event]
    turn.done()
    return [event, { ...event, type: 'delivered', offset: FAR, id }]
  }
}

/** Takes the first publication out of a history that was acknowledged: others need not be in it. */
function forgetting(turn: Turn): Breaking {
  const acknowledged = new Set<string>()
  return (event) => {
    if (event.type === 'acknowledged') acknowledged.add(event.id)
    if (event.type !== 'history') return [event]
    const { publications } = event
    const lost = publications.find(({ id }) => acknowledged.has(id))
    if (lost === undefined || !turn.isDue()) return [event]
    turn.done()
    return [{ ...event, publications: publications.filter((one) => one !== lost) }]
  }
}

/** The seed chooses among so many of frequent events. */
const FREQUENT = 300

/** Passes events on to a ledger, and breaks one of them. */
export class Saboteur {
  /** Whether it has met an event that it could break. */
  hasActed = false
  private readonly breaking: Breaking

  constructor(
    name: SabotageName,
    random: () => number,
    private readonly pass: (event: LedgerEvent) => void,
  ) {
    const { begin, isFrequent } = SABOTAGES[name]
    let remaining = isFrequent ? Math.floor(random() * FREQUENT) : 0
    this.breaking = begin({
      isDue: () => !this.hasActed && remaining-- <= 0,
      done: () => {
        this.hasActed = true
      },
    })
  }

  readonly record = (event: LedgerEvent): void => {
    for (const one of this.breaking(event)) this.pass(one)
  }
}
