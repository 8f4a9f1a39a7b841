import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import type { Codec, Connection } from '../../src/connection/connection.js'
import { Connections } from '../../src/connection/connections.js'
import { FanOut } from '../../src/hub/fan-out.js'
import { Hub } from '../../src/hub/hub.js'
import { createLocalChannel, type LocalChannel } from '../../src/hub/local-channel.js'
import { LabelledValue } from '../../src/metrics/labelled-value.js'
import { Metrics } from '../../src/metrics/metrics.js'
import type { PresenceEvent } from '../../src/protocol/publication.js'
import { clientInfo, publication } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'
import { stubConnection } from '../support/stub-connection.js'
import { stubSocket } from '../support/stub-socket.js'

const BUSY_DELAY_MS = 20
const JOIN: PresenceEvent = { type: 'join', info: clientInfo('c', ''), online: 1 }

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => vi.useRealTimers())

describe('deliveries in a channel', () => {
  let isBusy: boolean
  let metrics: Metrics
  /** Publications to raw subscribers, each with its time; and those to JSON subscribers, by frame. */
  let sent: string[]
  let pushed: string[][]
  let fanOut: FanOut
  let channel: LocalChannel
  let startMs: number

  beforeEach(() => {
    isBusy = false
    metrics = new Metrics('test')
    sent = []
    pushed = []
    startMs = performance.now()
    const send = (topic: string, data: Uint8Array) => {
      const text = Buffer.from(data).toString()
      if (topic.startsWith('raw')) sent.push(`${Math.round(performance.now() - startMs)} ${text}`)
      else pushed.push([...text.matchAll(/"data":(\d+)/g)].map(([, data]) => String(data)))
    }
    fanOut = new FanOut(send, metrics, { isBusy: () => isBusy }, BUSY_DELAY_MS)
    channel = channelWith(0)
  })

  function channelWith(deliveryDelayMs: number, codec: Codec = 'raw'): LocalChannel {
    const one = createLocalChannel(
      'room',
      new LabelledValue({}),
      hubOptions({ deliveryDelayMs }).rulesOf('room'),
    )
    one[codec].subscribers = 2
    return one
  }

  /** Broadcasts publications of one relay message. */
  function broadcast(...texts: string[]): void {
    const nowMs = performance.now()
    for (const text of texts) fanOut.broadcastPublication(channel, publication(text), undefined, nowMs)
  }

  function pass(ms: number): void {
    vi.advanceTimersByTime(ms)
  }

  it('never wait while the node is not busy and the namespace asks for no delay', () => {
    broadcast('1')
    pass(1)
    broadcast('2', '3')
    pass(1)
    broadcast('4')
    expect(sent).toEqual(['0 1', '1 2', '1 3', '2 4'])
    expect(metrics.delayedPublications.value).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are 20 ms apart while the node is busy: publications in between are delivered together, in order', () => {
    isBusy = true
    broadcast('1', '2')
    pass(5)
    broadcast('3')
    pass(14)
    broadcast('4', '5')
    expect(sent).toEqual(['0 1', '0 2'])
    pass(20)
    broadcast('6')
    pass(1)
    expect(sent.slice(2)).toEqual(['20 3', '20 4', '20 5', '40 6'])
    expect(metrics.delayedPublications.value).toBe(4)
    expect(metrics.deliveries.raw.value).toBe(6 * 2)
  })

  it('of the Centrifuge protocol are sent as one frame of lines', () => {
    isBusy = true
    channel = channelWith(0, 'json')
    broadcast('1')
    pass(1)
    broadcast('2')
    pass(1)
    broadcast('3')
    expect(pushed).toEqual([['1']])
    pass(18)
    expect(pushed).toEqual([['1'], ['2', '3']])
  })

  it('do not wait after a pause as long as the delay', () => {
    isBusy = true
    broadcast('1')
    pass(BUSY_DELAY_MS)
    broadcast('2')
    expect(sent).toEqual(['0 1', '20 2'])
  })

  it.each([
    [50, false, 50],
    [50, true, 50],
    [5, true, 20],
    [5, false, 5],
  ])(
    'where the namespace asks for %i ms, and the node is busy: %s, are %i ms apart',
    (asked, busy, apart) => {
      isBusy = busy
      channel = channelWith(asked)
      broadcast('1')
      pass(1)
      broadcast('2')
      pass(100)
      expect(sent).toEqual(['0 1', `${apart} 2`])
    },
  )

  it('do not wait for each other in different channels', () => {
    isBusy = true
    broadcast('1')
    channel = channelWith(0)
    broadcast('2')
    expect(sent).toEqual(['0 1', '0 2'])
  })

  it.each<Codec>(['raw', 'json'])(
    'to %s subscribers wait for no more than 32 publications, or 16 KiB',
    (codec) => {
      isBusy = true
      channel = channelWith(0, codec)
      const sentCount = () => (codec === 'raw' ? sent.length : pushed.flat().length)
      broadcast('1')
      pass(1)
      for (let count = 0; count < 31; count++) broadcast('2')
      expect(sentCount()).toBe(1)
      broadcast('3')
      expect(sentCount()).toBe(33)
      pass(1)
      broadcast('4'.repeat(8 * 1024))
      pass(1)
      expect(sentCount()).toBe(33)
      broadcast('5'.repeat(8 * 1024))
      expect(sentCount()).toBe(35)
      expect(vi.getTimerCount()).toBe(0)
      pass(1)
      broadcast('6')
      expect(sentCount()).toBe(35)
    },
  )

  it('of a push that is too large for a frame are sent at the end of the tick', () => {
    isBusy = true
    channel = channelWith(0, 'json')
    broadcast('1')
    pass(1)
    broadcast('2')
    broadcast('3'.repeat(70_000))
    pass(0)
    expect(pushed.map((frame) => frame.map((data) => data[0]))).toEqual([['1'], ['2'], ['3']])
  })

  it('are made at once by a flush, and not again when they are due', () => {
    isBusy = true
    broadcast('1')
    pass(10)
    broadcast('2')
    fanOut.flush(channel)
    expect(sent).toEqual(['0 1', '10 2'])
    fanOut.flush(channel)
    pass(10)
    broadcast('3')
    pass(20)
    expect(sent).toEqual(['0 1', '10 2', '30 3'])
  })

  it('keep the data of a publication whose buffer is used again', () => {
    isBusy = true
    broadcast('1')
    pass(1)
    const delayed = publication('mine')
    fanOut.broadcastPublication(channel, delayed, undefined, performance.now())
    delayed.data.fill(0)
    pass(BUSY_DELAY_MS)
    expect(sent[1]).toBe('20 mine')
  })
})

describe('a channel with a delivery delay', () => {
  /** A hub with subscribers, which records the publications and joins that each receives. */
  class RecordedHub {
    readonly received: string[][]
    private readonly subscribers: Connection[]
    private readonly inTopic = new Map<string, Set<number>>()
    private readonly hub: Hub
    private readonly subscribed = new Set<number>()
    private readonly connections = new Connections()

    constructor(deliveryDelayMs: number, count: number) {
      this.hub = new Hub({
        connections: this.connections,
        broker: new MemoryBroker(),
        broadcastToTopic: (topic, data) => this.sendTo(topic, data),
        metrics: new Metrics('test'),
        ...hubOptions({ deliveryDelayMs }),
      })
      this.received = Array.from({ length: count }, () => [])
      this.subscribers = Array.from({ length: count }, (_, index) => this.subscriberAt(index))
      for (const subscriber of this.subscribers) this.connections.add(subscriber)
    }

    subscribe(index: number): void {
      const subscriber = this.subscribers[index]
      if (subscriber === undefined || this.subscribed.has(index)) return
      this.subscribed.add(index)
      void this.hub.acquire('room')
      this.hub.addSubscriber('room', subscriber, { join: true, leave: false }, false)
    }

    unsubscribe(index: number): void {
      const subscriber = this.subscribers[index]
      if (subscriber === undefined || !this.subscribed.delete(index)) return
      this.hub.removeSubscriber('room', subscriber, { join: true, leave: false })
    }

    publish(text: string, excluded: number): void {
      const excludedClient = this.subscribers[excluded]?.client
      this.hub.receive('room', [publication(text, { excludedClient })])
    }

    announceJoin(): void {
      this.hub.receive('room', [JOIN])
    }

    private sendTo(topic: string, data: Uint8Array, except?: number): void {
      for (const index of this.inTopic.get(topic) ?? []) {
        if (index !== except) this.received[index]?.push(...Buffer.from(data).toString().split('\n'))
      }
    }

    private subscriberAt(index: number): Connection {
      const codec: Codec = index % 2 === 0 ? 'raw' : 'json'
      const indexesIn = (topic: string) => {
        const indexes = this.inTopic.get(topic) ?? new Set()
        this.inTopic.set(topic, indexes)
        return indexes
      }
      return stubConnection({
        client: `client-${index}`,
        codec,
        socket: stubSocket({
          subscribe: (topic) => indexesIn(topic).add(index),
          unsubscribe: (topic) => indexesIn(topic).delete(index),
          broadcastToOthers: (topic, data) => this.sendTo(topic, data, index),
        }),
        isSubscribed: () => this.subscribed.has(index),
      })
    }
  }

  const SUBSCRIBERS = 4
  type Action = (recordedHub: RecordedHub) => void
  const anySubscriber = fc.nat(SUBSCRIBERS - 1)
  const actions: fc.Arbitrary<Action> = fc.oneof(
    anySubscriber.map(
      (index): Action =>
        (recordedHub) =>
          recordedHub.subscribe(index),
    ),
    anySubscriber.map(
      (index): Action =>
        (recordedHub) =>
          recordedHub.unsubscribe(index),
    ),
    { weight: 4, arbitrary: fc.tuple(fc.nat(999), fc.nat(2 * SUBSCRIBERS)).map(publishing) },
    fc.constant<Action>((recordedHub) => recordedHub.announceJoin()),
    { weight: 2, arbitrary: fc.nat(70).map((ms) => () => vi.advanceTimersByTime(ms)) },
  )

  function publishing([text, excluded]: [number, number]): Action {
    return (recordedHub) => recordedHub.publish(String(text), excluded)
  }

  it('delivers to every subscriber what it would receive without the delay: once each, in order, with joins between', () => {
    fc.assert(
      fc.property(fc.array(actions, { minLength: 5, maxLength: 60 }), (sequence) => {
        const [delayed, prompt] = [50, 0].map((delayMs) => {
          const recordedHub = new RecordedHub(delayMs, SUBSCRIBERS)
          for (let index = 0; index < SUBSCRIBERS; index++) recordedHub.subscribe(index)
          for (const action of sequence) action(recordedHub)
          vi.advanceTimersByTime(2_000)
          return recordedHub.received
        })
        expect(delayed).toEqual(prompt)
      }),
      { numRuns: 300 },
    )
  })
})
