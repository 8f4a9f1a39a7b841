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
import { stubSocket } from '../support/stub-socket.js'

const NO_EVENTS: WatchedEvents = { join: false, leave: false }
const ALL_EVENTS: WatchedEvents = { join: true, leave: true }

let metrics: Metrics
let frames: string[]
let hub: Hub
let connections: Connections
/** Position of every stream, which has lost its publications; undefined: streams begin when they are read. */
let top: StreamPosition | undefined

/** A broker whose streams have lost their publications. */
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
  hub = new Hub({
    connections,
    broker: new ForgetfulBroker(),
    broadcastToTopic: send,
    metrics,
    ...hubOptions({ namespace: 'chat' }),
  })
})
afterEach(() => vi.useRealTimers())

/** A connection whose socket records its topics and broadcasts among the frames. */
class RecordingConnection implements Connection {
  readonly user = ''
  readonly sessionId = undefined
  readonly channels = new Set<string>()
  readonly gaps: string[] = []
  readonly socket = stubSocket({
    subscribe: (topic: string) => frames.push(`${this.client} joins ${topic}`),
    unsubscribe: (topic: string) => frames.push(`${this.client} leaves ${topic}`),
    broadcastToOthers: (topic: string, data: Uint8Array) =>
      frames.push(`but ${this.client} ${topic} ${Buffer.from(data).toString()}`),
  })

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

function subscribe(client: string, codec: Codec = 'json', channel = 'room', watched = NO_EVENTS) {
  const connection = new RecordingConnection(client, codec)
  connections.add(connection)
  void hub.acquire(channel)
  hub.addSubscriber(channel, connection, watched, true)
  connection.channels.add(channel)
  return connection
}

function unsubscribe(connection: RecordingConnection, channel = 'room', watched = NO_EVENTS): void {
  connection.channels.delete(channel)
  connections.remove(connection)
  hub.removeSubscriber(channel, connection, watched)
}

/** Waits for gap repairs to fail: the broker has none of these streams. */
async function repairsEnd(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0)
}

/** Ends the tick, which sends its publications. Removes and returns the recorded frames. */
function endTick(): string[] {
  vi.advanceTimersByTime(0)
  return takeFrames()
}

/** Removes and returns the recorded frames. */
function takeFrames(): string[] {
  return frames.splice(0)
}

const jsonPublication = (text: string, part: Partial<Publication> = {}) =>
  publication(JSON.stringify(text), { isJson: true, ...part })
const at = (offset: number, epoch = 'e') => jsonPublication(`${offset}`, { position: { epoch, offset } })
const push = (text: string, channel = 'room', position = '') =>
  `{"push":{"channel":"${channel}","pub":{"data":${JSON.stringify(text)}${position},"time":1800000000000}}}`
const pushAt = (offset: number) => push(`${offset}`, 'room', `,"offset":${offset}`)

describe('publications to JSON subscribers', () => {
  beforeEach(() => {
    subscribe('ann')
    takeFrames()
  })

  it('of one tick are sent as one frame of lines at its end', () => {
    hub.receive('room', [jsonPublication('one'), jsonPublication('two')])
    hub.receive('room', [jsonPublication('three')])
    expect(takeFrames()).toEqual([])
    const lines = [push('one'), push('two'), push('three')].join('\n')
    expect(endTick()).toEqual([`all json:data:room ${lines}`])
    expect(endTick()).toEqual([])
    hub.receive('room', [jsonPublication('four')])
    expect(endTick()).toEqual([`all json:data:room ${push('four')}`])
  })

  it('in two channels are sent as one frame for each', () => {
    subscribe('bob', 'json', 'other')
    takeFrames()
    hub.receive('room', [jsonPublication('one')])
    hub.receive('other', [jsonPublication('two')])
    hub.receive('room', [jsonPublication('three')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('one')}\n${push('three')}`,
      `all json:data:other ${push('two', 'other')}`,
    ])
  })

  it('are sent to earlier subscribers, but not to one that subscribes later in the same tick', () => {
    hub.receive('room', [jsonPublication('before')])
    subscribe('bob')
    hub.receive('room', [jsonPublication('after')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('before')}`,
      'bob joins json:data:room',
      `all json:data:room ${push('after')}`,
    ])
  })

  it('are sent to a subscriber that unsubscribes later in the same tick', () => {
    const bob = subscribe('bob')
    takeFrames()
    hub.receive('room', [jsonPublication('before')])
    unsubscribe(bob)
    hub.receive('room', [jsonPublication('after')])
    expect(endTick()).toEqual([
      `all json:data:room ${push('before')}`,
      'bob leaves json:data:room',
      `all json:data:room ${push('after')}`,
    ])
  })

  it('are not sent to the client that one excludes, and keep their order', () => {
    hub.receive('room', [
      jsonPublication('one'),
      jsonPublication('two', { excludedClient: 'ann' }),
      jsonPublication('three'),
    ])
    expect(endTick()).toEqual([
      `all json:data:room ${push('one')}`,
      `but ann json:data:room ${push('two')}`,
      `all json:data:room ${push('three')}`,
    ])
    expect(metrics.deliveries.centrifuge.value).toBe(2)
  })

  it('are sent to all subscribers when the excluded client is in another channel or unknown', () => {
    subscribe('bob', 'json', 'other')
    takeFrames()
    hub.receive('room', [
      jsonPublication('one', { excludedClient: 'bob' }),
      jsonPublication('two', { excludedClient: 'unknown' }),
    ])
    expect(endTick()).toEqual([`all json:data:room ${push('one')}\n${push('two')}`])
  })

  it('keep their order among joins and leaves', () => {
    subscribe('bob', 'json', 'room', ALL_EVENTS)
    takeFrames()
    const event = (type: 'join' | 'leave'): ChannelEvent => ({ type, info: clientInfo('c', ''), online: 1 })
    hub.receive('room', [jsonPublication('one'), event('join'), jsonPublication('two'), event('leave')])
    const presencePush = (type: string) => `{"push":{"channel":"room","${type}":{"info":{"client":"c"}}}}`
    expect(endTick()).toEqual([
      `all json:data:room ${push('one')}`,
      `all json:join:room ${presencePush('join')}`,
      `all json:data:room ${push('two')}`,
      `all json:leave:room ${presencePush('leave')}`,
    ])
  })
})

describe('a channel with subscribers of both protocols', () => {
  it('sends each protocol its own frames, and excludes a client only in its protocol', () => {
    subscribe('ann')
    subscribe('rob', 'raw')
    takeFrames()
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

  it('counts the subscribers of both by namespace, and sends joins to the watchers of both', () => {
    subscribe('ann', 'json', 'chat:room', ALL_EVENTS)
    const rob = subscribe('rob', 'raw', 'chat:room', ALL_EVENTS)
    takeFrames()
    expect([...hub.channelSizes()]).toEqual([['chat:room', 2]])
    expect(metrics.subscriptionGauge('chat').value).toBe(2)
    const join = { type: 'join', info: clientInfo('c', ''), online: 3 } as const
    hub.receive('chat:room', [join])
    expect(takeFrames().map((frame) => frame.split(' ')[1])).toEqual([
      'raw:join:chat:room',
      'json:join:chat:room',
    ])
    unsubscribe(rob, 'chat:room', ALL_EVENTS)
    takeFrames()
    hub.receive('chat:room', [join])
    expect(takeFrames()).toHaveLength(1)
  })
})

describe('publications of a stream', () => {
  const gapCount = async () => (await metrics.relayGaps.get()).values[0]?.value ?? 0
  let ann: RecordingConnection

  beforeEach(() => {
    ann = subscribe('ann')
    takeFrames()
  })

  it('that follow one another are delivered', async () => {
    hub.receive('room', [at(5), at(6)])
    hub.receive('room', [at(7)])
    expect(endTick()).toEqual([`all json:data:room ${[5, 6, 7].map(pushAt).join('\n')}`])
    expect(ann.gaps).toEqual([])
    expect(await gapCount()).toBe(0)
  })

  it('that were delivered already are not delivered again', () => {
    hub.receive('room', [at(5), at(5), at(6), at(4), at(6)])
    expect(endTick()).toEqual([`all json:data:room ${pushAt(5)}\n${pushAt(6)}`])
    expect(ann.gaps).toEqual([])
  })

  it.each([
    ['an offset is missing', at(7)],
    ['another epoch begins', at(1, 'f')],
  ])('between which %s, without a repair, notify every subscriber of one gap', async (_what, next) => {
    const rob = subscribe('rob', 'raw')
    const elsewhere = subscribe('eve', 'json', 'other')
    top = next.position
    hub.receive('room', [at(5), next])
    await repairsEnd()
    expect([ann.gaps, rob.gaps, elsewhere.gaps]).toEqual([['room'], ['room'], []])
    const { epoch, offset } = next.position as StreamPosition
    hub.receive('room', [at(offset + 1, epoch), at(offset + 2, epoch)])
    expect(ann.gaps).toEqual(['room'])
    expect(await gapCount()).toBe(1)
  })

  it('before a gap are delivered to a subscriber that leaves because of it', async () => {
    ann.notifyGap = () => {
      frames.push('ann is notified')
      unsubscribe(ann)
      return 0
    }
    hub.receive('room', [at(5), at(7)])
    await repairsEnd()
    expect(endTick()).toEqual([
      `all json:data:room ${pushAt(5)}`,
      'ann is notified',
      'ann leaves json:data:room',
    ])
  })

  it('show a gap also across a publication without a position', async () => {
    top = { epoch: 'e', offset: 7 }
    hub.receive('room', [at(5), jsonPublication('past the history'), at(7)])
    await repairsEnd()
    expect(ann.gaps).toEqual(['room'])
    hub.receive('room', [jsonPublication('past the history'), at(8), at(8)])
    expect(ann.gaps).toEqual(['room'])
    expect(
      endTick()
        .join()
        .match(/"offset":8/g),
    ).toHaveLength(1)
  })

  it('may start at any offset for a subscriber that comes after all others have left', () => {
    hub.receive('room', [at(5)])
    unsubscribe(ann)
    hub.receive('room', [at(6), at(7)])
    const bob = subscribe('bob')
    hub.receive('room', [at(9)])
    expect(bob.gaps).toEqual([])
  })
})

describe('a publication buffer', () => {
  it('keeps what is received from its start on, while the channel has no subscriber yet', () => {
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

  it('keeps what subscribers receive meanwhile, and nothing that they have received before', () => {
    subscribe('ann')
    takeFrames()
    hub.receive('room', [at(5)])
    const buffers = [hub.startBuffering('room'), hub.startBuffering('room')]
    hub.receive('room', [at(5), at(6)])
    expect(buffers.map(({ publications }) => publications.length)).toEqual([1, 1])
    expect(endTick()).toEqual([`all json:data:room ${pushAt(5)}\n${pushAt(6)}`])
  })

  it('shares its copies with the other buffers of its channel', () => {
    void hub.acquire('room')
    const buffers = [hub.startBuffering('room'), hub.startBuffering('room')] as const
    hub.receive('room', [at(1), at(2)])
    const [one, other] = buffers.map(({ publications }) => publications.map(({ data }) => data))
    expect(one).toHaveLength(2)
    for (const [index, data] of (one ?? []).entries()) expect(other?.[index]).toBe(data)
  })

  it('leaves the position that the next publication has to follow', async () => {
    void hub.acquire('room')
    const buffer = hub.startBuffering('room')
    hub.stopBuffering('room', buffer, { epoch: 'e', offset: 10 })
    const ann = subscribe('ann')
    takeFrames()
    hub.receive('room', [at(10), at(11)])
    expect(endTick()).toEqual([`all json:data:room ${pushAt(11)}`])
    hub.receive('room', [at(13)])
    await repairsEnd()
    expect(ann.gaps).toEqual(['room'])
  })

  it('reports an overflow at its bound, and keeps no more than that', () => {
    void hub.acquire('room')
    const [many, large] = [hub.startBuffering('room'), hub.startBuffering('room')]
    hub.receive('room', [jsonPublication('small')])
    hub.stopBuffering('room', large, undefined)
    for (let index = 0; index < 10_000; index++) hub.receive('room', [jsonPublication('x')])
    expect([many.hasOverflowed, many.publications.length]).toEqual([true, 10_000])
    large.add(publication(Buffer.alloc(16 * 1024 * 1024)))
    large.add(jsonPublication('small'))
    expect([large.hasOverflowed, large.publications.length]).toEqual([true, 1])
  })

  it('needs an acquired channel', () => {
    expect(() => hub.startBuffering('nowhere')).toThrow('not acquired')
  })
})
