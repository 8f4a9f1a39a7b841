import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Broker, History } from '../../src/broker/broker.js'
import type { Connection, WatchedEvents } from '../../src/connection/connection.js'
import { Connections } from '../../src/connection/connections.js'
import { Hub } from '../../src/hub/hub.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ChannelEvent, Publication, StreamPosition } from '../../src/protocol/publication.js'
import { clientInfo, publication as publicationOf } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'
import { stubConnection } from '../support/stub-connection.js'
import { stubSocket } from '../support/stub-socket.js'

/** Records its calls. A subscription ends when a test calls `confirm` or `refuse`. */
class RecordingBroker implements Broker {
  readonly calls: string[] = []
  private readonly open: { resolve: () => void; reject: () => void }[] = []
  private readonly pending = new Map<string, Promise<void>>()

  start(): void {
    this.calls.push('start')
  }

  subscribe(channel: string): Promise<void> {
    // Like every broker: concurrent calls share one subscription.
    const pending = this.pending.get(channel)
    if (pending !== undefined) return pending
    this.calls.push(`subscribe ${channel}`)
    const subscribing = new Promise<void>((resolve, reject) => {
      const settle = (act: () => void) => () => {
        this.pending.delete(channel)
        act()
      }
      this.open.push({
        resolve: settle(resolve),
        reject: settle(() => reject(new BrokerError('unavailable', 'Redis cannot be reached'))),
      })
    })
    this.pending.set(channel, subscribing)
    return subscribing
  }

  unsubscribe(channel: string): void {
    this.calls.push(`unsubscribe ${channel}`)
  }

  publish(channel: string): Promise<undefined> {
    this.calls.push(`publish ${channel}`)
    return Promise.resolve(undefined)
  }

  history(): Promise<History> {
    return Promise.resolve({ publications: [], position: { epoch: 'e', offset: 0 } })
  }

  positions(queries: readonly unknown[]): Promise<readonly StreamPosition[]> {
    return Promise.resolve(queries.map(() => ({ epoch: 'e', offset: 0 })))
  }

  removeHistory(): Promise<void> {
    return Promise.resolve()
  }

  confirm(): void {
    this.open.shift()?.resolve()
  }

  refuse(): void {
    this.open.shift()?.reject()
  }
}

const NO_EVENTS: WatchedEvents = { join: false, leave: false }

let broker: RecordingBroker
let metrics: Metrics
let frames: string[]
let hub: Hub
let connections: Connections

beforeEach(() => {
  vi.useFakeTimers()
  broker = new RecordingBroker()
  metrics = new Metrics('test')
  frames = []
  const publish = (topic: string, data: Uint8Array) => frames.push(`all ${topic} ${textOf(data)}`)
  connections = new Connections()
  hub = new Hub({ connections, broker, broadcastToTopic: publish, metrics, ...hubOptions() })
})
afterEach(() => vi.useRealTimers())

function textOf(data: Uint8Array): string {
  return Buffer.from(data).toString()
}

/** A connection whose socket records its topics and broadcasts. */
function createConnection(client: string, channel: string): Connection & { readonly topics: string[] } {
  const topics: string[] = []
  const socket = stubSocket({
    subscribe: (topic) => topics.push(topic),
    unsubscribe: (topic) => topics.splice(topics.indexOf(topic), 1),
    broadcastToOthers: (topic, data) => frames.push(`but ${client} ${topic} ${textOf(data)}`),
  })
  return { ...stubConnection({ client, socket, isSubscribed: (name) => name === channel }), topics }
}

async function subscribe(client: string, channel = 'room', watched = NO_EVENTS) {
  const connection = createConnection(client, channel)
  connections.add(connection)
  const acquired = hub.acquire(channel)
  broker.confirm()
  await acquired
  hub.addSubscriber(channel, connection, watched, true)
  return connection
}

function unsubscribe(connection: Connection, channel = 'room', watched = NO_EVENTS): void {
  connections.remove(connection)
  hub.removeSubscriber(channel, connection, watched)
}

function publication(text: string, excludedClient?: string): Publication {
  return publicationOf(text, { excludedClient, publishedAtMs: Date.now() })
}

describe('a channel', () => {
  it('is subscribed once for all acquisitions, concurrent and later ones', async () => {
    const [first, second] = [hub.acquire('room'), hub.acquire('room')]
    broker.confirm()
    await Promise.all([first, second])
    expect(hub.acquire('room')).toBeUndefined()
    expect(broker.calls).toEqual(['subscribe room'])
  })

  it('is unsubscribed a second after its last subscriber left', async () => {
    const [ann, bob] = [await subscribe('ann'), await subscribe('bob')]
    unsubscribe(ann)
    vi.advanceTimersByTime(10_000)
    unsubscribe(bob)
    vi.advanceTimersByTime(999)
    expect(broker.calls).toEqual(['subscribe room'])
    vi.advanceTimersByTime(1)
    expect(broker.calls).toEqual(['subscribe room', 'unsubscribe room'])
  })

  it('stays subscribed when a client resubscribes within that second', async () => {
    const ann = await subscribe('ann')
    for (let turn = 0; turn < 5; turn++) {
      unsubscribe(ann)
      vi.advanceTimersByTime(999)
      expect(hub.acquire('room')).toBeUndefined()
      hub.addSubscriber('room', ann, NO_EVENTS, true)
    }
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room'])
  })

  it('is subscribed anew after it was unsubscribed', async () => {
    unsubscribe(await subscribe('ann'))
    vi.advanceTimersByTime(1_000)
    await subscribe('bob')
    expect(broker.calls).toEqual(['subscribe room', 'unsubscribe room', 'subscribe room'])
  })

  it('stays subscribed while it is acquired, also without a subscriber', async () => {
    const ann = await subscribe('ann')
    expect(hub.acquire('room')).toBeUndefined()
    unsubscribe(ann)
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room'])
    hub.release('room')
    vi.advanceTimersByTime(1_000)
    expect(broker.calls).toEqual(['subscribe room', 'unsubscribe room'])
  })

  it('is not affected by another channel', async () => {
    const ann = await subscribe('ann', 'one')
    await subscribe('bob', 'two')
    unsubscribe(ann, 'one')
    vi.advanceTimersByTime(1_000)
    expect(broker.calls).toEqual(['subscribe one', 'subscribe two', 'unsubscribe one'])
  })

  it('that was not acquired is left, released and received without effect, and takes no subscriber', () => {
    hub.release('nowhere')
    hub.removeSubscriber('nowhere', createConnection('ann', 'nowhere'), NO_EVENTS)
    hub.receive('nowhere', [publication('hello')])
    expect(() => hub.addSubscriber('nowhere', createConnection('ann', 'nowhere'), NO_EVENTS, true)).toThrow(
      'not acquired',
    )
    expect(frames).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a subscription that fails', () => {
  it('fails for all acquisitions that wait for it', async () => {
    const waiting = [hub.acquire('room'), hub.acquire('room'), hub.acquire('room')]
    broker.refuse()
    for (const one of waiting) await expect(one).rejects.toThrow('Redis cannot be reached')
  })

  it('is retried by the next acquisition, also before the failed one is released', async () => {
    const first = hub.acquire('room')
    broker.refuse()
    await expect(first).rejects.toThrow()
    const second = hub.acquire('room')
    broker.confirm()
    await second
    hub.release('room')
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room', 'subscribe room'])
    hub.release('room')
    vi.advanceTimersByTime(1_000)
    expect(broker.calls.at(-1)).toBe('unsubscribe room')
  })

  it('leaves nothing to unsubscribe', async () => {
    const acquired = hub.acquire('room')
    broker.refuse()
    await expect(acquired).rejects.toThrow()
    hub.release('room')
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room'])
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a publication', () => {
  it('is sent to all subscribers of its channel', async () => {
    await subscribe('ann')
    hub.receive('room', [publication('one'), publication('two')])
    expect(frames).toEqual(['all raw:data:room one', 'all raw:data:room two'])
  })

  it('is not sent to the client that it excludes', async () => {
    await subscribe('ann')
    hub.receive('room', [publication('hello', 'ann')])
    expect(frames).toEqual(['but ann raw:data:room hello'])
  })

  it('is sent to all subscribers when the excluded client is in another channel or unknown', async () => {
    await subscribe('ann')
    await subscribe('bob', 'other')
    hub.receive('room', [publication('one', 'bob'), publication('two', 'unknown')])
    expect(frames).toEqual(['all raw:data:room one', 'all raw:data:room two'])
  })

  it('is not sent in a channel without subscribers', async () => {
    unsubscribe(await subscribe('ann'))
    hub.receive('room', [publication('hello')])
    expect(frames).toEqual([])
    expect(metrics.deliveries.raw.value).toBe(0)
  })

  it('is counted for each subscriber that receives it', async () => {
    await subscribe('ann')
    await subscribe('bob')
    await subscribe('eve')
    hub.receive('room', [publication('12345'), publication('12345', 'bob')])
    expect(metrics.deliveries.raw.value).toBe(5)
    expect(metrics.deliveredBytes.raw.value).toBe(25)
  })

  it('from a clock that is ahead has no negative lag', async () => {
    await subscribe('ann')
    hub.receive('room', [{ ...publication('hello'), publishedAtMs: Date.now() + 60_000 }])
    expect([metrics.deliveryLag.count, metrics.deliveryLag.sum]).toEqual([1, 0])
  })
})

describe('a publication that waits for its delivery', () => {
  const DELAY_MS = 50

  beforeEach(async () => {
    const publish = (_topic: string, data: Uint8Array) => frames.push(textOf(data))
    hub = new Hub({
      connections,
      broker,
      broadcastToTopic: publish,
      metrics,
      ...hubOptions({ deliveryDelayMs: DELAY_MS }),
    })
    await subscribe('ann')
    hub.receive('room', [publication('first')])
    vi.advanceTimersByTime(10)
  })

  it('counts its wait as lag', () => {
    hub.receive('room', [publication('second')])
    expect(metrics.deliveryLag.sum).toBeCloseTo((DELAY_MS - 10) / 1_000)
  })

  it('is not sent early when the client that it excludes has disconnected', async () => {
    const bob = await subscribe('bob')
    hub.receive('room', [publication('second', 'bob')])
    unsubscribe({ ...bob, socket: undefined })
    expect(frames).toEqual(['first'])
    vi.advanceTimersByTime(DELAY_MS)
    expect(frames).toHaveLength(2)
  })

  it('is sent together with the others of its relay message', () => {
    hub.receive('room', [publication('second'), publication('third')])
    expect(frames).toEqual(['first'])
    vi.advanceTimersByTime(DELAY_MS - 9)
    hub.receive('room', [publication('fourth'), publication('fifth')])
    expect(frames).toEqual(['first', 'second', 'third'])
    vi.advanceTimersByTime(2 * DELAY_MS)
    hub.receive('room', [publication('sixth'), publication('seventh')])
    expect(frames.slice(3)).toEqual(['fourth', 'fifth', 'sixth', 'seventh'])
  })
})

describe('a join or leave', () => {
  const event = (type: 'join' | 'leave'): ChannelEvent => ({
    type,
    info: clientInfo('c', 'ann "a"'),
    online: 3,
  })

  it('is sent without a number of clients where presence is not kept', async () => {
    await subscribe('ann', 'room', { join: true, leave: false })
    hub.receive('room', [
      {
        type: 'join',
        info: { client: 'c', user: '', connInfo: '1', chanInfo: undefined },
        online: undefined,
      },
    ])
    expect(frames).toEqual(['all raw:join:room {"event":"join","client":"c","user":""}'])
  })

  it.each(['join', 'leave'] as const)('(%s) is sent to its watchers only', async (type) => {
    const watched = { ...NO_EVENTS, [type]: true }
    const ann = await subscribe('ann', 'room', watched)
    expect(ann.topics).toEqual(['raw:data:room', `raw:${type}:room`])
    hub.receive('room', [event('join'), event('leave')])
    expect(frames).toEqual([
      `all raw:${type}:room {"event":"${type}","client":"c","user":"ann \\"a\\"","online":3}`,
    ])
    unsubscribe(ann, 'room', watched)
    await subscribe('bob')
    hub.receive('room', [event('join'), event('leave')])
    expect(frames).toHaveLength(1)
  })

  it.each(['join', 'leave'] as const)('(%s) has watchers while a subscriber watches it', async (type) => {
    const other = type === 'join' ? 'leave' : 'join'
    const watched = { ...NO_EVENTS, [type]: true }
    await subscribe('bob')
    expect(hub.hasPresenceWatchers('room', type)).toBe(false)
    const ann = await subscribe('ann', 'room', watched)
    expect([
      hub.hasPresenceWatchers('room', type),
      hub.hasPresenceWatchers('room', other),
      hub.hasPresenceWatchers('lobby', type),
    ]).toEqual([true, false, false])
    unsubscribe(ann, 'room', watched)
    expect(hub.hasPresenceWatchers('room', type)).toBe(false)
  })

  it('is not counted as a delivery', async () => {
    await subscribe('ann', 'room', { join: true, leave: true })
    hub.receive('room', [event('join')])
    expect(metrics.deliveries.raw.value).toBe(0)
  })
})

it('counts of connections, channels and subscriptions return to zero', async () => {
  const subscriptions = metrics.subscriptionGauge('')
  const [ann, bob, eve] = [await subscribe('ann'), await subscribe('bob'), await subscribe('eve', 'other')]
  expect([connections.count, hub.channelCount]).toEqual([3, 2])
  expect([...hub.channelSizes()]).toEqual([
    ['room', 2],
    ['other', 1],
  ])
  expect(subscriptions.value).toBe(3)
  unsubscribe(ann)
  unsubscribe(eve, 'other')
  expect([...hub.channelSizes()]).toEqual([['room', 1]])
  unsubscribe(bob)
  expect([connections.count, hub.channelCount]).toEqual([0, 0])
  expect([...hub.channelSizes()]).toEqual([])
  expect(subscriptions.value).toBe(0)
})
