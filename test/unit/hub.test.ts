import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Broker, History } from '../../src/broker/broker.js'
import type { Connection, WatchedEvents } from '../../src/connection/connection.js'
import { Connections } from '../../src/connection/connections.js'
import { Hub } from '../../src/hub/hub.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ChannelEvent, Publication } from '../../src/protocol/publication.js'
import type { Socket } from '../../src/transport/transport.js'
import { hubOptions } from '../support/hub-options.js'
import { stubMember } from '../support/stub-member.js'

/** Writes down what it is asked, and answers when the test says. */
class RecordingBroker implements Broker {
  readonly calls: string[] = []
  private readonly open: { resolve: () => void; reject: () => void }[] = []
  private readonly pending = new Map<string, Promise<void>>()

  start(): void {
    this.calls.push('start')
  }

  subscribe(channel: string): Promise<void> {
    // As brokers do: one subscription for all who ask while it is on its way.
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

const NO_WISHES: WatchedEvents = { join: false, leave: false }

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
  hub = new Hub(connections, broker, publish, metrics, hubOptions())
})
afterEach(() => vi.useRealTimers())

function textOf(data: Uint8Array): string {
  return Buffer.from(data).toString()
}

/** A member whose socket writes down what it joins and publishes. */
function member(client: string, channel: string): Connection & { readonly topics: string[] } {
  const topics: string[] = []
  const socket: Socket = {
    send: () => undefined,
    ping: () => undefined,
    close: () => undefined,
    subscribe: (topic) => topics.push(topic),
    unsubscribe: (topic) => topics.splice(topics.indexOf(topic), 1),
    broadcastToOthers: (topic, data) => frames.push(`but ${client} ${topic} ${textOf(data)}`),
    bufferedBytes: () => 0,
  }
  return { ...stubMember({ client, socket, isSubscribed: (name) => name === channel }), topics }
}

async function enter(client: string, channel = 'room', wishes = NO_WISHES) {
  const one = member(client, channel)
  connections.add(one)
  const held = hub.acquire(channel)
  broker.confirm()
  await held
  hub.addSubscriber(channel, one, wishes)
  return one
}

function leave(one: Connection, channel = 'room', wishes = NO_WISHES): void {
  connections.remove(one)
  hub.removeSubscriber(channel, one, wishes)
}

function publication(text: string, excludedClient?: string): Publication {
  const data = Buffer.from(text)
  return {
    type: 'publication',
    data,
    isBinary: false,
    isJson: false,
    info: undefined,
    tags: undefined,
    position: undefined,
    excludedClient,
    publishedAtMs: Date.now(),
  }
}

describe('a channel', () => {
  it('is subscribed once for all who wait for it, and for those who come after', async () => {
    const [first, second] = [hub.acquire('room'), hub.acquire('room')]
    broker.confirm()
    await Promise.all([first, second])
    expect(hub.acquire('room')).toBeUndefined()
    expect(broker.calls).toEqual(['subscribe room'])
  })

  it('is unsubscribed a second after its last member left', async () => {
    const [ann, bob] = [await enter('ann'), await enter('bob')]
    leave(ann)
    vi.advanceTimersByTime(10_000)
    leave(bob)
    vi.advanceTimersByTime(999)
    expect(broker.calls).toEqual(['subscribe room'])
    vi.advanceTimersByTime(1)
    expect(broker.calls).toEqual(['subscribe room', 'unsubscribe room'])
  })

  it('stays subscribed when somebody comes back within that second', async () => {
    const ann = await enter('ann')
    for (let turn = 0; turn < 5; turn++) {
      leave(ann)
      vi.advanceTimersByTime(999)
      expect(hub.acquire('room')).toBeUndefined()
      hub.addSubscriber('room', ann, NO_WISHES)
    }
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room'])
  })

  it('is subscribed anew after it was given up', async () => {
    leave(await enter('ann'))
    vi.advanceTimersByTime(1_000)
    await enter('bob')
    expect(broker.calls).toEqual(['subscribe room', 'unsubscribe room', 'subscribe room'])
  })

  it('stays subscribed while a handshake holds it that has no member yet', async () => {
    const ann = await enter('ann')
    expect(hub.acquire('room')).toBeUndefined()
    leave(ann)
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room'])
    hub.release('room')
    vi.advanceTimersByTime(1_000)
    expect(broker.calls).toEqual(['subscribe room', 'unsubscribe room'])
  })

  it('is not mixed up with another', async () => {
    const ann = await enter('ann', 'one')
    await enter('bob', 'two')
    leave(ann, 'one')
    vi.advanceTimersByTime(1_000)
    expect(broker.calls).toEqual(['subscribe one', 'subscribe two', 'unsubscribe one'])
  })

  it('that nobody knows is left and released without harm', () => {
    hub.release('nowhere')
    hub.removeSubscriber('nowhere', member('ann', 'nowhere'), NO_WISHES)
    hub.receive('nowhere', [publication('hello')])
    expect(() => hub.addSubscriber('nowhere', member('ann', 'nowhere'), NO_WISHES)).toThrow('not acquired')
    expect(frames).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a subscription that fails', () => {
  it('fails for all who wait for it', async () => {
    const waiting = [hub.acquire('room'), hub.acquire('room'), hub.acquire('room')]
    broker.refuse()
    for (const one of waiting) await expect(one).rejects.toThrow('Redis cannot be reached')
  })

  it('is tried again for the next who comes, also while others still have it to release', async () => {
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
    const held = hub.acquire('room')
    broker.refuse()
    await expect(held).rejects.toThrow()
    hub.release('room')
    vi.advanceTimersByTime(10_000)
    expect(broker.calls).toEqual(['subscribe room'])
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a publication', () => {
  it('goes to everybody in its channel', async () => {
    await enter('ann')
    hub.receive('room', [publication('one'), publication('two')])
    expect(frames).toEqual(['all raw:data:room one', 'all raw:data:room two'])
  })

  it('leaves out the client that it excludes', async () => {
    await enter('ann')
    hub.receive('room', [publication('hello', 'ann')])
    expect(frames).toEqual(['but ann raw:data:room hello'])
  })

  it('excludes nobody who is elsewhere, or unknown here', async () => {
    await enter('ann')
    await enter('bob', 'other')
    hub.receive('room', [publication('one', 'bob'), publication('two', 'stranger')])
    expect(frames).toEqual(['all raw:data:room one', 'all raw:data:room two'])
  })

  it('costs nothing where only a handshake holds the channel', async () => {
    leave(await enter('ann'))
    hub.receive('room', [publication('hello')])
    expect(frames).toEqual([])
    expect(metrics.deliveries.raw.value).toBe(0)
  })

  it('is counted for each who gets it', async () => {
    await enter('ann')
    await enter('bob')
    await enter('eve')
    hub.receive('room', [publication('12345'), publication('12345', 'bob')])
    expect(metrics.deliveries.raw.value).toBe(5)
    expect(metrics.deliveredBytes.raw.value).toBe(25)
  })

  it('from a clock that is ahead has no negative lag', async () => {
    await enter('ann')
    hub.receive('room', [{ ...publication('hello'), publishedAtMs: Date.now() + 60_000 }])
    expect([metrics.deliveryLag.count, metrics.deliveryLag.sum]).toEqual([1, 0])
  })
})

describe('a publication that waits for its delivery', () => {
  const DELAY_MS = 50

  beforeEach(async () => {
    const publish = (_topic: string, data: Uint8Array) => frames.push(textOf(data))
    hub = new Hub(connections, broker, publish, metrics, hubOptions({ deliveryDelayMs: DELAY_MS }))
    await enter('ann')
    hub.receive('room', [publication('first')])
    vi.advanceTimersByTime(10)
  })

  it('counts its wait as lag', () => {
    hub.receive('room', [publication('second')])
    expect(metrics.deliveryLag.sum).toBeCloseTo((DELAY_MS - 10) / 1_000)
  })

  it('does not leave early for a client that is gone', async () => {
    const bob = await enter('bob')
    hub.receive('room', [publication('second', 'bob')])
    leave({ ...bob, socket: undefined })
    expect(frames).toEqual(['first'])
    vi.advanceTimersByTime(DELAY_MS)
    expect(frames).toHaveLength(2)
  })

  it('leaves together with those that come in the same relay message', () => {
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
    info: { client: 'c', user: 'ann "a"', connInfo: undefined, chanInfo: undefined },
    online: 3,
  })

  it('is told without a number where presence is not kept', async () => {
    await enter('ann', 'room', { join: true, leave: false })
    hub.receive('room', [
      {
        type: 'join',
        info: { client: 'c', user: '', connInfo: '1', chanInfo: undefined },
        online: undefined,
      },
    ])
    expect(frames).toEqual(['all raw:join:room {"event":"join","client":"c","user":""}'])
  })

  it.each(['join', 'leave'] as const)('(%s) is told to those who asked for it', async (type) => {
    const wishes = { ...NO_WISHES, [type]: true }
    const ann = await enter('ann', 'room', wishes)
    expect(ann.topics).toEqual(['raw:data:room', `raw:${type}:room`])
    hub.receive('room', [event('join'), event('leave')])
    expect(frames).toEqual([
      `all raw:${type}:room {"event":"${type}","client":"c","user":"ann \\"a\\"","online":3}`,
    ])
    leave(ann, 'room', wishes)
    await enter('bob')
    hub.receive('room', [event('join'), event('leave')])
    expect(frames).toHaveLength(1)
  })

  it.each(['join', 'leave'] as const)('(%s) is heard while somebody asked for it', async (type) => {
    const other = type === 'join' ? 'leave' : 'join'
    const wishes = { ...NO_WISHES, [type]: true }
    await enter('bob')
    expect(hub.hasPresenceWatchers('room', type)).toBe(false)
    const ann = await enter('ann', 'room', wishes)
    expect([
      hub.hasPresenceWatchers('room', type),
      hub.hasPresenceWatchers('room', other),
      hub.hasPresenceWatchers('lobby', type),
    ]).toEqual([true, false, false])
    leave(ann, 'room', wishes)
    expect(hub.hasPresenceWatchers('room', type)).toBe(false)
  })

  it('is no delivery of a publication', async () => {
    await enter('ann', 'room', { join: true, leave: true })
    hub.receive('room', [event('join')])
    expect(metrics.deliveries.raw.value).toBe(0)
  })
})

it('counts of connections, channels and subscriptions return to zero', async () => {
  const subscriptions = metrics.subscriptions('')
  const [ann, bob, eve] = [await enter('ann'), await enter('bob'), await enter('eve', 'other')]
  expect([connections.count, hub.channelCount]).toEqual([3, 2])
  expect([...hub.channelSizes()]).toEqual([
    ['room', 2],
    ['other', 1],
  ])
  expect(subscriptions.value).toBe(3)
  leave(ann)
  leave(eve, 'other')
  expect([...hub.channelSizes()]).toEqual([['room', 1]])
  leave(bob)
  expect([connections.count, hub.channelCount]).toEqual([0, 0])
  expect([...hub.channelSizes()]).toEqual([])
  expect(subscriptions.value).toBe(0)
})
