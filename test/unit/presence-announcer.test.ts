import { beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/log.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { PresenceAnnouncer } from '../../src/presence/presence-announcer.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ClientInfo } from '../../src/protocol/client-info.js'
import { clientInfo } from '../contract/publications.js'
import { RecordingBroker } from '../support/recording-broker.js'

/** A store whose writes are done when a test calls `answer`, not before. */
class SlowStore extends MemoryPresenceStore {
  readonly writes: string[] = []
  private waiting: (() => void)[] = []

  override add(channel: string, info: ClientInfo): Promise<number> {
    return this.later(`add ${info.client}`, () => super.add(channel, info))
  }

  override remove(channel: string, info: ClientInfo): Promise<number> {
    return this.later(`remove ${info.client}`, () => super.remove(channel, info))
  }

  /** Ends all pending writes, the last first; with `failure`, they are rejected. */
  async answer(failure?: Error): Promise<void> {
    for (const proceed of this.waiting.reverse()) proceed()
    this.waiting = []
    this.failure = failure
    await new Promise(setImmediate)
  }

  private failure: Error | undefined

  private async later(what: string, act: () => Promise<number>): Promise<number> {
    this.writes.push(what)
    await new Promise<void>((resolve) => this.waiting.push(resolve))
    await Promise.resolve()
    if (this.failure !== undefined) throw this.failure
    return act()
  }
}

const MAX_PENDING_CHANGES = 4
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
    MAX_PENDING_CHANGES,
  )
})

describe('a client that joins and leaves', () => {
  it('is announced in order, although its join is still being written when it leaves', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    expect(store.writes).toEqual(['add c-1'])
    for (let round = 0; round < 2; round++) await store.answer()
    expect(broker.events).toEqual([
      { type: 'join', info: ann, online: 1 },
      { type: 'leave', info: ann, online: 0 },
    ])
    expect(announcer.pendingCount).toBe(0)
  })

  it('is announced once, although it leaves and rejoins a thousand times meanwhile', async () => {
    announcer.joined('room', ann, BOTH)
    for (let round = 0; round < 1_000; round++) {
      announcer.left('room', ann, BOTH)
      announcer.joined('room', ann, BOTH)
      expect(announcer.pendingCount).toBe(1)
    }
    await store.answer()
    await announcer.settled()
    expect(store.writes).toEqual(['add c-1'])
    expect(broker.events).toEqual([{ type: 'join', info: ann, online: 1 }])
    expect(announcer.pendingCount).toBe(0)
  })

  it('is announced with one leave at the end, however often it rejoined and left meanwhile', async () => {
    announcer.joined('room', ann, BOTH)
    for (let round = 0; round < 1_000; round++) {
      announcer.left('room', ann, BOTH)
      announcer.joined('room', ann, BOTH)
    }
    announcer.left('room', ann, BOTH)
    for (let round = 0; round < 2; round++) await store.answer()
    await announcer.settled()
    expect(store.writes).toEqual(['add c-1', 'remove c-1'])
    expect(broker.events.map(({ type }) => type)).toEqual(['join', 'leave'])
    expect(await store.stats('room')).toEqual({ clients: 0, users: 0 })
  })

  it('is announced with one leave when it joins and leaves while that is being written', async () => {
    announcer.left('room', ann, BOTH)
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    await store.answer()
    await announcer.settled()
    expect(broker.events).toEqual([{ type: 'leave', info: ann, online: 0 }])
  })

  it('is announced with a leave and a join when it rejoins with another info', async () => {
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

  it('waits for no other client, and not for itself in another channel', () => {
    announcer.joined('room', ann, BOTH)
    announcer.joined('room', bob, BOTH)
    announcer.joined('lobby', ann, BOTH)
    expect(store.writes).toEqual(['add c-1', 'add c-2', 'add c-1'])
  })

  it('is announced without a number of clients where presence is not kept', async () => {
    const announcement = { presence: false, joinLeave: true }
    announcer.joined('room', ann, announcement)
    announcer.left('room', ann, announcement)
    await announcer.settled()
    expect(store.writes).toEqual([])
    expect(broker.events).toEqual([
      { type: 'join', info: ann, online: undefined },
      { type: 'leave', info: ann, online: undefined },
    ])
  })

  it('is stored without an announcement where joins and leaves are not published', async () => {
    announcer.joined('room', ann, { presence: true, joinLeave: false })
    await store.answer()
    expect(broker.events).toEqual([])
    expect(await store.stats('room')).toEqual({ clients: 1, users: 1 })
  })

  it('is not announced when the store fails, and its leave is still written', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    await store.answer(new BrokerError('unavailable', 'Redis cannot be reached'))
    expect(broker.events).toEqual([])
    expect(store.writes).toEqual(['add c-1', 'remove c-1'])
  })

  it('is settled once all pending writes are done', async () => {
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

describe('the limit of pending changes of a client', () => {
  it('makes a session wait once it is reached, until some of the changes are done', async () => {
    for (const channel of ['a', 'b', 'c', 'd']) {
      expect(announcer.whenBelowLimit('c-1')).toBeUndefined()
      announcer.joined(channel, ann, BOTH)
    }
    const belowLimit = announcer.whenBelowLimit('c-1')
    expect(belowLimit).toBeInstanceOf(Promise)
    expect(announcer.whenBelowLimit('c-2')).toBeUndefined()
    await store.answer()
    await belowLimit
    expect(announcer.whenBelowLimit('c-1')).toBeUndefined()
  })

  it('counts changes that are never written, until their channel is settled', async () => {
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    announcer.joined('room', ann, BOTH)
    announcer.left('room', ann, BOTH)
    const belowLimit = announcer.whenBelowLimit('c-1')
    expect(belowLimit).toBeInstanceOf(Promise)
    await store.answer()
    expect(announcer.whenBelowLimit('c-1')).toBe(belowLimit)
    await store.answer()
    await belowLimit
    expect(announcer.whenBelowLimit('c-1')).toBeUndefined()
  })

  it('is also released by changes that fail', async () => {
    for (const channel of ['a', 'b', 'c', 'd']) announcer.joined(channel, ann, BOTH)
    const belowLimit = announcer.whenBelowLimit('c-1')
    await store.answer(new BrokerError('unavailable', 'Redis cannot be reached'))
    await belowLimit
    expect(announcer.pendingCount).toBe(0)
  })
})
