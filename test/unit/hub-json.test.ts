import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { History, HistoryQuery } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import type { Codec, Connection, WatchedEvents } from '../../src/connection/connection.js'
import { Connections } from '../../src/connection/connections.js'
import { Hub } from '../../src/hub/hub.js'
import { Metrics } from '../../src/metrics/metrics.js'
import type { ChannelEvent, Publication, StreamPosition } from '../../src/protocol/publication.js'
import { clientInfo, publication } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'

const NO_WISHES: WatchedEvents = { join: false, leave: false }
const ALL_WISHES: WatchedEvents = { join: true, leave: true }

let metrics: Metrics
let frames: string[]
let hub: Hub
let connections: Connections
/** Of streams that have lost all publications; undefined: streams begin when they are read. */
let top: StreamPosition | undefined

/** Streams of which only the position is left. */
class ForgetfulBroker extends MemoryBroker {
  override history(channel: string, query: HistoryQuery): Promise<History> {
    if (top === undefined) return super.history(channel, query)
    return Promise.resolve({ publications: [], position: top })
  }
}

beforeEach(() => {
  vi.useFakeTimers()
  top = undefined
  metrics = new Metrics('test')
  frames = []
  const send = (topic: string, data: Uint8Array) =>
    frames.push(`all ${topic} ${Buffer.from(data).toString()}`)
  connections = new Connections()
  hub = new Hub(connections, new ForgetfulBroker(), send, metrics, hubOptions({ namespace: 'chat' }))
})
afterEach(() => vi.useRealTimers())

/** A member whose socket writes down what happens to it, among the frames. */
class RecordingMember implements Connection {
  readonly user = ''
  readonly session = undefined
  readonly channels = new Set<string>()
  readonly gaps: string[] = []
  readonly socket = {
    send: () => undefined,
    ping: () => undefined,
    close: () => undefined,
    subscribe: (topic: string) => frames.push(`${this.client} joins ${topic}`),
    unsubscribe: (topic: string) => frames.push(`${this.client} leaves ${topic}`),
    broadcastToOthers: (topic: string, data: Uint8Array) =>
      frames.push(`but ${this.client} ${topic} ${Buffer.from(data).toString()}`),
    bufferedBytes: () => 0,
  }

  constructor(
    readonly client: string,
    readonly codec: Codec = 'json',
  ) {}

  isSubscribed = (channel: string) => this.channels.has(channel)
  subscribe = () => Promise.resolve()
  unsubscribe = () => false
  pushMessage = () => true
  refresh = () => undefined
  close = () => undefined
  shutDown = () => undefined
  notifyGap = (channel: string) => this.gaps.push(channel)
}

function enter(client: string, codec: Codec = 'json', channel = 'room', wishes = NO_WISHES) {
  const member = new RecordingMember(client, codec)
  connections.add(member)
  void hub.acquire(channel)
  hub.addSubscriber(channel, member, wishes)
  member.channels.add(channel)
  return member
}

function leave(member: RecordingMember, channel = 'room', wishes = NO_WISHES): void {
  member.channels.delete(channel)
  connections.remove(member)
  hub.removeSubscriber(channel, member, wishes)
}

/** The broker here knows none of these streams, so that what is missing can't be read. */
async function givenUp(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0)
}

/** What is said in a tick leaves at its end. */
function endTick(): string[] {
  vi.advanceTimersByTime(0)
  return taken()
}

/** The frames since the last look. */
function taken(): string[] {
  return frames.splice(0)
}

const said = (text: string, part: Partial<Publication> = {}) =>
  publication(JSON.stringify(text), { isJson: true, ...part })
const at = (offset: number, epoch = 'e') => said(`${offset}`, { position: { epoch, offset } })
const push = (text: string, channel = 'room', position = '') =>
  `{"push":{"channel":"${channel}","pub":{"data":${JSON.stringify(text)}${position},"time":1800000000000}}}`
const pushAt = (offset: number) => push(`${offset}`, 'room', `,"offset":${offset}`)

describe('what is said to JSON members', () => {
  beforeEach(() => {
    enter('ann')
    taken()
  })

  it('in one tick leaves as one frame of lines at its end', () => {
    hub.receive('room', [said('one'), said('two')])
    hub.receive('room', [said('three')])
    expect(taken()).toEqual([])
    const lines = [push('one'), push('two'), push('three')].join('\n')
    expect(endTick()).toEqual([`all json:data:room ${lines}`])
    expect(endTick()).toEqual([])
    hub.receive('room', [said('four')])
    expect(endTick()).toEqual([`all json:data:room ${push('four')}`])
  })

  it('in two channels leaves as a frame for each', () => {
    enter('bob', 'json', 'other')
    taken()
    hub.receive('room', [said('one')])
    hub.receive('other', [said('two')])
    hub.receive('room', [said('three')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('one')}\n${push('three')}`,
      `all json:data:other ${push('two', 'other')}`,
    ])
  })

  it('is not heard by who joins after it in the same tick, but by who was there', () => {
    hub.receive('room', [said('before')])
    enter('bob')
    hub.receive('room', [said('after')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('before')}`,
      'bob joins json:data:room',
      `all json:data:room ${push('after')}`,
    ])
  })

  it('is heard by who leaves after it in the same tick', () => {
    const bob = enter('bob')
    taken()
    hub.receive('room', [said('before')])
    leave(bob)
    hub.receive('room', [said('after')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('before')}`,
      'bob leaves json:data:room',
      `all json:data:room ${push('after')}`,
    ])
  })

  it('leaves out the client that it excludes, in its place among the others', () => {
    hub.receive('room', [said('one'), said('two', { excludedClient: 'ann' }), said('three')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('one')}`,
      `but ann json:data:room ${push('two')}`,
      `all json:data:room ${push('three')}`,
    ])
    expect(metrics.deliveries.centrifuge.value).toBe(2)
  })

  it('excludes nobody who is in another channel, or unknown here', () => {
    enter('bob', 'json', 'other')
    taken()
    hub.receive('room', [said('one', { excludedClient: 'bob' }), said('two', { excludedClient: 'stranger' })])
    expect(endTick()).toEqual([`all json:data:room ${push('one')}\n${push('two')}`])
  })

  it('keeps its place among joins and leaves', () => {
    enter('bob', 'json', 'room', ALL_WISHES)
    taken()
    const event = (type: 'join' | 'leave'): ChannelEvent => ({ type, info: clientInfo('c', ''), online: 1 })
    hub.receive('room', [said('one'), event('join'), said('two'), event('leave')])
    const told = (type: string) => `{"push":{"channel":"room","${type}":{"info":{"client":"c"}}}}`
    expect(endTick()).toEqual([
      `all json:data:room ${push('one')}`,
      `all json:join:room ${told('join')}`,
      `all json:data:room ${push('two')}`,
      `all json:leave:room ${told('leave')}`,
    ])
  })
})

describe('a channel of members of both protocols', () => {
  it('speaks to each in its own way, and excludes in the one where the client is', () => {
    enter('ann')
    enter('rob', 'raw')
    taken()
    hub.receive('room', [
      publication('grüße', { excludedClient: 'rob' }),
      publication('all the same', { excludedClient: 'ann' }),
    ])
    expect(endTick()).toEqual([
      'but rob raw:data:room grüße',
      'all raw:data:room all the same',
      `all json:data:room ${push('grüße')}`,
      `but ann json:data:room ${push('all the same')}`,
    ])
    expect([metrics.deliveries.raw.value, metrics.deliveries.centrifuge.value]).toEqual([1, 1])
    expect(metrics.deliveredBytes.raw.value).toBe('all the same'.length)
    expect(metrics.deliveredBytes.centrifuge.value).toBe(Buffer.byteLength('grüße'))
  })

  it('counts both, by its namespace, and tells each protocol’s watchers of joins', () => {
    enter('ann', 'json', 'chat:room', ALL_WISHES)
    const rob = enter('rob', 'raw', 'chat:room', ALL_WISHES)
    taken()
    expect([...hub.channelSizes()]).toEqual([['chat:room', 2]])
    expect(metrics.subscriptions('chat').value).toBe(2)
    const join = { type: 'join', info: clientInfo('c', ''), online: 3 } as const
    hub.receive('chat:room', [join])
    expect(taken().map((frame) => frame.split(' ')[1])).toEqual(['raw:join:chat:room', 'json:join:chat:room'])
    leave(rob, 'chat:room', ALL_WISHES)
    taken()
    hub.receive('chat:room', [join])
    expect(taken()).toHaveLength(1)
  })
})

describe('publications of a stream', () => {
  const gapCount = async () => (await metrics.relayGaps.get()).values[0]?.value ?? 0
  let ann: RecordingMember

  beforeEach(() => {
    ann = enter('ann')
    taken()
  })

  it('that follow one another are handed out as they are', async () => {
    hub.receive('room', [at(5), at(6)])
    hub.receive('room', [at(7)])
    expect(endTick()).toEqual([`all json:data:room ${[5, 6, 7].map(pushAt).join('\n')}`])
    expect(ann.gaps).toEqual([])
    expect(await gapCount()).toBe(0)
  })

  it('that were handed out already are not again', () => {
    hub.receive('room', [at(5), at(5), at(6), at(4), at(6)])
    expect(endTick()).toEqual([`all json:data:room ${pushAt(5)}\n${pushAt(6)}`])
    expect(ann.gaps).toEqual([])
  })

  it.each([
    ['an offset is left out', at(7)],
    ['another stream begins', at(1, 'f')],
  ])(
    'between which %s, and which are lost, are a gap, which every member is told of once',
    async (_what, next) => {
      const rob = enter('rob', 'raw')
      const elsewhere = enter('eve', 'json', 'other')
      top = next.position
      hub.receive('room', [at(5), next])
      await givenUp()
      expect([ann.gaps, rob.gaps, elsewhere.gaps]).toEqual([['room'], ['room'], []])
      const { epoch, offset } = next.position as StreamPosition
      hub.receive('room', [at(offset + 1, epoch), at(offset + 2, epoch)])
      expect(ann.gaps).toEqual(['room'])
      expect(await gapCount()).toBe(1)
    },
  )

  it('before a gap are heard by those who leave for it', async () => {
    ann.notifyGap = () => {
      frames.push('ann is told')
      leave(ann)
      return 0
    }
    hub.receive('room', [at(5), at(7)])
    await givenUp()
    expect(endTick()).toEqual([`all json:data:room ${pushAt(5)}`, 'ann is told', 'ann leaves json:data:room'])
  })

  it('show a gap also when something without a place came in between', async () => {
    top = { epoch: 'e', offset: 7 }
    hub.receive('room', [at(5), said('past the history'), at(7)])
    await givenUp()
    expect(ann.gaps).toEqual(['room'])
    hub.receive('room', [said('past the history'), at(8), at(8)])
    expect(ann.gaps).toEqual(['room'])
    expect(
      endTick()
        .join()
        .match(/"offset":8/g),
    ).toHaveLength(1)
  })

  it('may begin anywhere for those who come after everybody left', () => {
    hub.receive('room', [at(5)])
    leave(ann)
    hub.receive('room', [at(6), at(7)])
    const bob = enter('bob')
    hub.receive('room', [at(9)])
    expect(bob.gaps).toEqual([])
  })
})

describe('a buffer', () => {
  it('keeps what comes while nobody is in the channel yet, from when it is there', () => {
    void hub.acquire('room')
    hub.receive('room', [at(1)])
    const buffer = hub.startBuffering('room')
    const data = Buffer.from('"of the broker"')
    hub.receive('room', [{ ...at(2), data }, at(3)])
    data.fill('x')
    expect(buffer.publications.map(({ position }) => position?.offset)).toEqual([2, 3])
    expect(Buffer.from(buffer.publications[0]?.data ?? []).toString()).toBe('"of the broker"')
    hub.stopBuffering('room', buffer, undefined)
    hub.receive('room', [at(4)])
    expect(buffer.publications).toHaveLength(2)
    expect(endTick()).toEqual([])
  })

  it('keeps what members hear at the same time, and not what they had before', () => {
    enter('ann')
    taken()
    hub.receive('room', [at(5)])
    const buffers = [hub.startBuffering('room'), hub.startBuffering('room')]
    hub.receive('room', [at(5), at(6)])
    expect(buffers.map(({ publications }) => publications.length)).toEqual([1, 1])
    expect(endTick()).toEqual([`all json:data:room ${pushAt(5)}\n${pushAt(6)}`])
  })

  it('shares its copies with those who read at the same time', () => {
    void hub.acquire('room')
    const buffers = [hub.startBuffering('room'), hub.startBuffering('room')] as const
    hub.receive('room', [at(1), at(2)])
    const [one, other] = buffers.map(({ publications }) => publications.map(({ data }) => data))
    expect(one).toHaveLength(2)
    for (const [index, data] of (one ?? []).entries()) expect(other?.[index]).toBe(data)
  })

  it('hands over the position after which the next publication has to come', async () => {
    void hub.acquire('room')
    const buffer = hub.startBuffering('room')
    hub.stopBuffering('room', buffer, { epoch: 'e', offset: 10 })
    const ann = enter('ann')
    taken()
    hub.receive('room', [at(10), at(11)])
    expect(endTick()).toEqual([`all json:data:room ${pushAt(11)}`])
    hub.receive('room', [at(13)])
    await givenUp()
    expect(ann.gaps).toEqual(['room'])
  })

  it('of more than its bound says so, and lets go of no more', () => {
    void hub.acquire('room')
    const [many, large] = [hub.startBuffering('room'), hub.startBuffering('room')]
    hub.receive('room', [said('small')])
    hub.stopBuffering('room', large, undefined)
    for (let index = 0; index < 10_000; index++) hub.receive('room', [said('x')])
    expect([many.hasOverflowed, many.publications.length]).toEqual([true, 10_000])
    large.add(publication(Buffer.alloc(16 * 1024 * 1024)))
    large.add(said('small'))
    expect([large.hasOverflowed, large.publications.length]).toEqual([true, 1])
  })

  it('belongs to a channel that is held', () => {
    expect(() => hub.startBuffering('nowhere')).toThrow('not acquired')
  })
})
