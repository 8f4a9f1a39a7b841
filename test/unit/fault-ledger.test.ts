import { describe, expect, it } from 'vitest'
import type { LedgerEvent, Permissions, Position, Property } from '../faults/ledger/events.js'
import { Ledger, type LedgerReport } from '../faults/ledger/ledger.js'
import { SABOTAGE_NAMES, SABOTAGES, Saboteur } from '../faults/ledger/sabotage.js'

const CHANNEL = 'news'
const KEPT: Permissions = { epochs: 'kept', history: 'kept' }
const ENDED: Permissions = { epochs: 'ended', history: 'lost' }

const at = (offset: number, epoch = 'a'): Position => ({ epoch, offset })
const sent = (number: number, atMs = number): LedgerEvent => ({
  type: 'sent',
  atMs,
  id: `p${number}`,
  channel: CHANNEL,
  publisher: 'publisher',
  number,
})
const acknowledged = (number: number, position?: Position): LedgerEvent => ({
  type: 'acknowledged',
  id: `p${number}`,
  ...(position !== undefined && { position }),
})
const published = (number: number, position: Position): LedgerEvent[] => [
  sent(number),
  acknowledged(number, position),
]
const subscribed = (position: Position, atMs = 0): LedgerEvent => ({
  type: 'subscribed',
  atMs,
  subscriber: 'client',
  channel: CHANNEL,
  position,
  recovered: false,
  publications: [],
})
const recovered = (from: Position, offsets: readonly number[], to: Position, atMs = 0): LedgerEvent => ({
  type: 'subscribed',
  atMs,
  subscriber: 'client',
  channel: CHANNEL,
  position: to,
  from,
  recovered: true,
  publications: offsets.map((offset) => ({ offset, id: `p${offset}` })),
})
const refused = (from: Position, position: Position, atMs: number): LedgerEvent => ({
  type: 'subscribed',
  atMs,
  subscriber: 'client',
  channel: CHANNEL,
  position,
  from,
  recovered: false,
  publications: [],
})
const delivered = (offset: number, id = `p${offset}`, channel = CHANNEL): LedgerEvent => ({
  type: 'delivered',
  atMs: offset,
  subscriber: 'client',
  channel,
  offset,
  id,
})
const heard = (number: number): LedgerEvent => ({
  type: 'heard',
  atMs: number,
  subscriber: 'raw',
  channel: CHANNEL,
  id: `p${number}`,
})
const disconnected: LedgerEvent = { type: 'disconnected', atMs: 0, subscriber: 'client' }
const unsubscribed: LedgerEvent = { type: 'unsubscribed', atMs: 0, subscriber: 'client', channel: CHANNEL }
const ended: LedgerEvent = {
  type: 'ended',
  atMs: 0,
  subscriber: 'client',
  channel: CHANNEL,
  code: 2500,
  node: 'node 0',
}
const history = (offsets: readonly number[], epoch = 'a'): LedgerEvent => ({
  type: 'history',
  channel: CHANNEL,
  position: at(offsets.at(-1) ?? 0, epoch),
  publications: offsets.map((offset) => ({ offset, id: `p${offset}` })),
})
const counted = (unrepairedGaps: number): LedgerEvent => ({ type: 'counted', node: 'node 0', unrepairedGaps })

function judge(events: readonly LedgerEvent[], permissions = KEPT): LedgerReport {
  const ledger = new Ledger(permissions, (_subscriber, channel) => channel === CHANNEL)
  for (const event of events) ledger.record(event)
  return ledger.finish()
}

/** The properties that the ledger found violated, with how often. */
function violated(events: readonly LedgerEvent[], permissions = KEPT): Partial<Record<Property, number>> {
  const counts = Object.entries(judge(events, permissions).violations).filter(([, count]) => count > 0)
  return Object.fromEntries(counts)
}

/** A run without a mistake in which each kind of event happens. */
const FAULTLESS: readonly LedgerEvent[] = [
  subscribed(at(0)),
  ...published(1, at(1)),
  delivered(1),
  heard(1),
  ...published(2, at(2)),
  delivered(2),
  heard(2),
  disconnected,
  ...published(3, at(3)),
  ...published(4, at(4)),
  recovered(at(2), [3, 4], at(4)),
  ...published(5, at(5)),
  delivered(5),
  unsubscribed,
  subscribed(at(5), 6),
  ...published(6, at(6)),
  delivered(6),
  history([1, 2, 3, 4, 5, 6]),
  counted(0),
]

describe('the ledger of a fault run', () => {
  it('finds nothing where every publication arrives once and in order', () => {
    expect(judge(FAULTLESS)).toMatchObject({
      deliveries: 8,
      acknowledged: 6,
      refused: 0,
      recoveries: 1,
      recoverable: 1,
      described: [],
    })
  })

  it.each(SABOTAGE_NAMES)('notices the sabotage %s as a violation of its property', (name) => {
    const broken: LedgerEvent[] = []
    const saboteur = new Saboteur(
      name,
      () => 0,
      (event) => broken.push(event),
    )
    for (const event of FAULTLESS) saboteur.record(event)
    expect(saboteur.hasActed).toBe(true)
    const found = Object.keys(violated(broken))
    // What is missing of a recovery, or has another's place in a stream, was not received either.
    const also = name === 'drop' ? [] : found.filter((one) => one === 'P1')
    expect(found).toEqual([...also, SABOTAGES[name].property])
  })

  it('has one sabotage for each property', () => {
    const properties = Object.keys(judge([]).violations)
    expect(Object.values(SABOTAGES).map(({ property }) => property)).toEqual(properties)
  })

  describe('of losses', () => {
    it('finds a publication that is lost at the end', () => {
      expect(violated([subscribed(at(0)), ...published(1, at(1))])).toEqual({ P1: 1 })
    })

    it('finds a publication that was acknowledged and is in no stream', () => {
      expect(violated([subscribed(at(0)), sent(1), acknowledged(1)])).toEqual({ P1: 1 })
    })

    it('finds a hole that a recovery from after it hides', () => {
      const events = [
        subscribed(at(0)),
        ...[1, 2, 3].flatMap((number) => published(number, at(number))),
        delivered(1),
        delivered(3),
        disconnected,
        recovered(at(3), [], at(3)),
      ]
      expect(violated(events)).toEqual({ P1: 1 })
    })

    it('permits what a subscriber was told of in a new epoch', () => {
      const events = [subscribed(at(0)), ...published(1, at(1)), disconnected, refused(at(0), at(0, 'b'), 2)]
      expect(violated(events, ENDED)).toEqual({})
    })

    it('does not permit what was sent after the subscriber was told', () => {
      const events = [
        subscribed(at(0)),
        disconnected,
        refused(at(0), at(0, 'b'), 1),
        // A former master still acknowledges.
        sent(2),
        acknowledged(2, at(1)),
      ]
      expect(violated(events, ENDED)).toEqual({ P1: 1 })
    })

    it('permits a position up to which a subscriber began anew, and none above', () => {
      const begin = [subscribed(at(0)), ...published(1, at(1)), ...published(2, at(2)), disconnected]
      expect(violated([...begin, subscribed(at(2), 3)])).toEqual({})
      expect(violated([...begin, subscribed(at(1), 3)])).toEqual({ P1: 1 })
    })

    it('finds a subscriber that does not hear of a new epoch', () => {
      const events = [subscribed(at(0)), ...published(1, at(1)), delivered(1), ...published(2, at(1, 'b'))]
      expect(violated(events, ENDED)).toEqual({ P1: 1 })
    })

    it('does not hold what was not acknowledged against anybody, unless it is in the stream', () => {
      expect(violated([subscribed(at(0)), sent(1)])).toEqual({})
      expect(violated([subscribed(at(0)), sent(1), history([1])])).toEqual({ P1: 1 })
    })
  })

  describe('of recoveries', () => {
    it('finds one in another epoch, and one that begins too late or ends too early', () => {
      const begin = [subscribed(at(0)), ...published(1, at(1)), ...published(2, at(2)), disconnected]
      expect(violated([...begin, recovered(at(0), [1, 2], at(2, 'b'))])).toMatchObject({ P5: 1 })
      expect(violated([...begin, recovered(at(0), [2], at(2))])).toMatchObject({ P5: 1 })
      expect(violated([...begin, recovered(at(0), [1], at(2))])).toMatchObject({ P5: 1 })
      expect(
        violated([...begin, recovered(at(0), [1], at(0)), ...published(3, at(3)), delivered(3)]),
      ).toEqual({
        P1: 1,
        P5: 1,
      })
    })

    it('permits a client to name a position before what it has received while it unsubscribed', () => {
      const events = [
        subscribed(at(0)),
        ...[1, 2].flatMap((number) => published(number, at(number))),
        delivered(1),
        delivered(2),
        unsubscribed,
        recovered(at(1), [2], at(1)),
      ]
      expect(violated(events)).toEqual({})
    })

    it('finds a refused one in a new epoch where epochs have to go on', () => {
      const events = [subscribed(at(0)), disconnected, refused(at(0), at(0, 'b'), 1)]
      expect(violated(events)).toEqual({ P6: 1 })
      expect(violated(events, ENDED)).toEqual({})
      expect(judge(events, ENDED)).toMatchObject({ told: 1, recoverable: 0 })
    })

    it('finds a refused one in the same epoch, unless the history was evicted', () => {
      const events = [subscribed(at(0)), disconnected, refused(at(0), at(0), 1)]
      expect(violated(events, ENDED)).toEqual({ P6: 1 })
      expect(violated(events, { epochs: 'either', history: 'evicted' })).toEqual({})
    })
  })

  describe('of what is given no offset', () => {
    it('finds a publication that is heard twice or late', () => {
      const all = [1, 2].flatMap((number) => published(number, at(number)))
      expect(violated([...all, heard(1), heard(1)])).toEqual({ P2: 1 })
      expect(violated([...all, heard(2), heard(1)])).toEqual({ P3: 1 })
      expect(violated([...all, heard(2)])).toEqual({})
    })

    it('permits twice what was heard on two connections, which may lead to two nodes', () => {
      const all = [1, 2].flatMap((number) => published(number, at(number)))
      const reconnected: LedgerEvent = { type: 'disconnected', atMs: 0, subscriber: 'raw' }
      expect(violated([...all, heard(1), heard(2), reconnected, heard(2)])).toEqual({})
    })

    it('permits twice what was published again, and late what may have been published late', () => {
      const repeated: LedgerEvent = { type: 'repeated', id: 'p1' }
      expect(violated([sent(1), repeated, acknowledged(1), heard(1), heard(1)])).toEqual({})
      expect(violated([sent(1), sent(2), acknowledged(2), heard(2), heard(1)])).toEqual({})
    })
  })

  it('finds a publication that one epoch has at two offsets', () => {
    const events = [subscribed(at(0)), ...published(1, at(1)), delivered(1), delivered(2, 'p1')]
    expect(violated(events)).toEqual({ P2: 1 })
  })

  it('permits the loss of history in ended epochs only where a fault permits it', () => {
    const events = [...published(1, at(1)), history([], 'b')]
    expect(violated(events)).toEqual({ P9: 1 })
    expect(violated(events, ENDED)).toEqual({})
    expect(violated([...published(1, at(1, 'b')), history([], 'b')], ENDED)).toEqual({ P9: 1 })
  })

  it('finds gaps that subscribers were told and their node has not counted', () => {
    const end = [subscribed(at(0)), ended, refused(at(0), at(0, 'b'), 1)]
    expect(violated([...end, counted(1)], ENDED)).toEqual({})
    expect(violated([...end, counted(0)], ENDED)).toEqual({ P10: 1 })
    expect(judge([...end, counted(1)], ENDED)).toMatchObject({ told: 1, gapsTold: 1 })
  })

  it('describes a violation by what the subscriber went through', () => {
    const events = [
      subscribed(at(0)),
      ...[1, 2, 3].flatMap((number) => published(number, at(number))),
      delivered(1),
      disconnected,
      recovered(at(1), [2], at(2)),
    ]
    expect(judge(events).described).toEqual([
      {
        property: 'P1',
        channel: CHANNEL,
        text: 'client neither received p3 at a 3 nor was told',
        trail: [
          'subscribed at a 0',
          'received 1 to 1',
          'disconnected',
          'asked from a 1, recovered 1 up to a 2',
          'received 2 to 2',
        ],
      },
    ])
  })
})
