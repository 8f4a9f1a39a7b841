import { beforeEach, describe, expect, it } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { createLogger } from '../../src/log.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { PresenceAnnouncer } from '../../src/presence/presence-announcer.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ClientInfo } from '../../src/protocol/client-info.js'
import type { ChannelEvent } from '../../src/protocol/publication.js'
import { clientInfo } from '../contract/publications.js'

/** A store that answers when the test says so, with what is so by then. */
class SlowStore extends MemoryPresenceStore {
  readonly asked: string[] = []
  private waiting: (() => void)[] = []

  override add(channel: string, info: ClientInfo): Promise<number> {
    return this.later(`add ${info.client}`, () => super.add(channel, info))
  }

  override remove(channel: string, info: ClientInfo): Promise<number> {
    return this.later(`remove ${info.client}`, () => super.remove(channel, info))
  }

  /** Answers all that is asked now, the last first. */
  async answer(failure?: Error): Promise<void> {
    for (const go of this.waiting.reverse()) go()
    this.waiting = []
    this.failure = failure
    await new Promise(setImmediate)
  }

  private failure: Error | undefined

  private async later(what: string, act: () => Promise<number>): Promise<number> {
    this.asked.push(what)
    await new Promise<void>((resolve) => this.waiting.push(resolve))
    await Promise.resolve()
    if (this.failure !== undefined) throw this.failure
    return act()
  }
}

class RecordingBroker extends MemoryBroker {
  readonly events: ChannelEvent[] = []

  override publish(_channel: string, event: ChannelEvent): Promise<undefined> {
    this.events.push(event)
    return Promise.resolve(undefined)
  }
}

const MAX_MOVES = 4
const BOTH = { presence: true, joinLeave: true }
const ann = clientInfo('c-1', 'ann')
const bob = clientInfo('c-2', 'bob')

let store: SlowStore
let broker: RecordingBroker
let announcer: PresenceAnnouncer

beforeEach(() => {
  store = new SlowStore()
  broker = new RecordingBroker()
  announcer = new PresenceAnnouncer(
    store,
    broker,
    createLogger({ level: 'silent', format: 'json' }),
    MAX_MOVES,
  )
})

describe('who comes and goes', () => {
  it('is told in its order, though the join still waits when the leave comes', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    expect(store.asked).toEqual(['add c-1'])
    for (let round = 0; round < 2; round++) await store.answer()
    expect(broker.events).toEqual([
      { type: 'join', info: ann, online: 1 },
      { type: 'leave', info: ann, online: 0 },
    ])
    expect(announcer.pendingCount).toBe(0)
  })

  it('is told once, though it leaves and comes back a thousand times meanwhile', async () => {
    announcer.joined('room', ann, BOTH)
    for (let round = 0; round < 1_000; round++) {
      announcer.left('room', ann, BOTH)
      announcer.joined('room', ann, BOTH)
      expect(announcer.pendingCount).toBe(1)
    }
    await store.answer()
    await announcer.settled()
    expect(store.asked).toEqual(['add c-1'])
    expect(broker.events).toEqual([{ type: 'join', info: ann, online: 1 }])
    expect(announcer.pendingCount).toBe(0)
  })

  it('is told to have left in the end, by one leave, however often it came and left meanwhile', async () => {
    announcer.joined('room', ann, BOTH)
    for (let round = 0; round < 1_000; round++) {
      announcer.left('room', ann, BOTH)
      announcer.joined('room', ann, BOTH)
    }
    announcer.left('room', ann, BOTH)
    for (let round = 0; round < 2; round++) await store.answer()
    await announcer.settled()
    expect(store.asked).toEqual(['add c-1', 'remove c-1'])
    expect(broker.events.map(({ type }) => type)).toEqual(['join', 'leave'])
    expect(await store.stats('room')).toEqual({ clients: 0, users: 0 })
  })

  it('is not told to be back where it comes and leaves while its leave is under way', async () => {
    announcer.left('room', ann, BOTH)
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    await store.answer()
    await announcer.settled()
    expect(broker.events).toEqual([{ type: 'leave', info: ann, online: 0 }])
  })

  it('is told to have left and to be back where it is back with another info', async () => {
    const asAdmin = { ...ann, chanInfo: '{"role":"admin"}' }
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    announcer.joined('room', asAdmin, BOTH)
    for (let round = 0; round < 3; round++) await store.answer()
    expect(broker.events).toEqual([
      { type: 'join', info: ann, online: 1 },
      { type: 'leave', info: ann, online: 0 },
      { type: 'join', info: asAdmin, online: 1 },
    ])
    expect((await store.list('room')).get('c-1')).toEqual(asAdmin)
  })

  it('waits for nobody else, and not for itself in another channel', () => {
    announcer.joined('room', ann, BOTH)
    announcer.joined('room', bob, BOTH)
    announcer.joined('lobby', ann, BOTH)
    expect(store.asked).toEqual(['add c-1', 'add c-2', 'add c-1'])
  })

  it('is told without a number where presence is not kept', async () => {
    const announcement = { presence: false, joinLeave: true }
    announcer.joined('room', ann, announcement)
    announcer.left('room', ann, announcement)
    await announcer.settled()
    expect(store.asked).toEqual([])
    expect(broker.events).toEqual([
      { type: 'join', info: ann, online: undefined },
      { type: 'leave', info: ann, online: undefined },
    ])
  })

  it('is kept without a word where joins and leaves are not published', async () => {
    announcer.joined('room', ann, { presence: true, joinLeave: false })
    await store.answer()
    expect(broker.events).toEqual([])
    expect(await store.stats('room')).toEqual({ clients: 1, users: 1 })
  })

  it('is not told with a number that is not known, and its leave is tried all the same', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    await store.answer(new BrokerError('unavailable', 'Redis cannot be reached'))
    expect(broker.events).toEqual([])
    expect(store.asked).toEqual(['add c-1', 'remove c-1'])
  })

  it('is settled once everything under way is done', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    let isSettled = false
    const settled = announcer.settled().then(() => {
      isSettled = true
    })
    await store.answer()
    expect(isSettled).toBe(false)
    await store.answer()
    await settled
    expect(broker.events).toHaveLength(2)
  })
})

describe('room for further moves of a client', () => {
  it('is there until as many are under way as may be, and again once some of them are done', async () => {
    for (const channel of ['a', 'b', 'c', 'd']) {
      expect(announcer.roomFor('c-1')).toBeUndefined()
      announcer.joined(channel, ann, BOTH)
    }
    const room = announcer.roomFor('c-1')
    expect(room).toBeInstanceOf(Promise)
    expect(announcer.roomFor('c-2')).toBeUndefined()
    await store.answer()
    await room
    expect(announcer.roomFor('c-1')).toBeUndefined()
  })

  it('is taken by moves that are never told of, until the place that they were in is settled', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    const room = announcer.roomFor('c-1')
    expect(room).toBeInstanceOf(Promise)
    await store.answer()
    expect(announcer.roomFor('c-1')).toBe(room)
    await store.answer()
    await room
    expect(announcer.roomFor('c-1')).toBeUndefined()
  })

  it('is made by failures too', async () => {
    for (const channel of ['a', 'b', 'c', 'd']) announcer.joined(channel, ann, BOTH)
    const room = announcer.roomFor('c-1')
    await store.answer(new BrokerError('unavailable', 'Redis cannot be reached'))
    await room
    expect(announcer.pendingCount).toBe(0)
  })
})
