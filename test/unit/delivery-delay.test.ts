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
import { stubMember } from '../support/stub-member.js'

const BUSY_DELAY_MS = 20
const JOIN: PresenceEvent = { type: 'join', info: clientInfo('c', ''), online: 1 }

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => vi.useRealTimers())

describe('deliveries in a channel', () => {
  let isBusy: boolean
  let metrics: Metrics
  /** What was sent to raw members, each with its time; and to the others. */
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

  function say(...texts: string[]): void {
    // Of one relay message.
    const nowMs = performance.now()
    for (const text of texts) fanOut.broadcastPublication(channel, publication(text), undefined, nowMs)
  }

  function pass(ms: number): void {
    vi.advanceTimersByTime(ms)
  }

  it('never wait while the node is not busy and the namespace asks for no delay', () => {
    say('1')
    pass(1)
    say('2', '3')
    pass(1)
    say('4')
    expect(sent).toEqual(['0 1', '1 2', '1 3', '2 4'])
    expect(metrics.delayedPublications.value).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are 20 ms apart while the node is busy: what is said in between leaves together, in order', () => {
    isBusy = true
    say('1', '2')
    pass(5)
    say('3')
    pass(14)
    say('4', '5')
    expect(sent).toEqual(['0 1', '0 2'])
    pass(20)
    say('6')
    pass(1)
    expect(sent.slice(2)).toEqual(['20 3', '20 4', '20 5', '40 6'])
    expect(metrics.delayedPublications.value).toBe(4)
    expect(metrics.deliveries.raw.value).toBe(6 * 2)
  })

  it('of the Centrifuge protocol leave as one frame of lines', () => {
    isBusy = true
    channel = channelWith(0, 'json')
    say('1')
    pass(1)
    say('2')
    pass(1)
    say('3')
    expect(pushed).toEqual([['1']])
    pass(18)
    expect(pushed).toEqual([['1'], ['2', '3']])
  })

  it('do not wait after a pause as long as the delay', () => {
    isBusy = true
    say('1')
    pass(BUSY_DELAY_MS)
    say('2')
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
      say('1')
      pass(1)
      say('2')
      pass(100)
      expect(sent).toEqual(['0 1', `${apart} 2`])
    },
  )

  it('do not wait for each other in different channels', () => {
    isBusy = true
    say('1')
    channel = channelWith(0)
    say('2')
    expect(sent).toEqual(['0 1', '0 2'])
  })

  it.each<Codec>(['raw', 'json'])(
    'to %s members wait for no more than 32 publications, or 16 KiB',
    (codec) => {
      isBusy = true
      channel = channelWith(0, codec)
      const left = () => (codec === 'raw' ? sent.length : pushed.flat().length)
      say('1')
      pass(1)
      for (let count = 0; count < 31; count++) say('2')
      expect(left()).toBe(1)
      say('3')
      expect(left()).toBe(33)
      pass(1)
      say('4'.repeat(8 * 1024))
      pass(1)
      expect(left()).toBe(33)
      say('5'.repeat(8 * 1024))
      expect(left()).toBe(35)
      expect(vi.getTimerCount()).toBe(0)
      pass(1)
      say('6')
      expect(left()).toBe(35)
    },
  )

  it('of a push that no frame has room for leave with the tick', () => {
    isBusy = true
    channel = channelWith(0, 'json')
    say('1')
    pass(1)
    say('2')
    say('3'.repeat(70_000))
    pass(0)
    expect(pushed.map((frame) => frame.map((data) => data[0]))).toEqual([['1'], ['2'], ['3']])
  })

  it('are made at once when that is asked for, and not again when they are due', () => {
    isBusy = true
    say('1')
    pass(10)
    say('2')
    fanOut.flush(channel)
    expect(sent).toEqual(['0 1', '10 2'])
    fanOut.flush(channel)
    pass(10)
    say('3')
    pass(20)
    expect(sent).toEqual(['0 1', '10 2', '30 3'])
  })

  it('hold what was said, although its buffer is used again', () => {
    isBusy = true
    say('1')
    pass(1)
    const said = publication('mine')
    fanOut.broadcastPublication(channel, said, undefined, performance.now())
    said.data.fill(0)
    pass(BUSY_DELAY_MS)
    expect(sent[1]).toBe('20 mine')
  })
})

describe('a channel with a delivery delay', () => {
  /** A hub whose topics and members are here. */
  class World {
    readonly heard: string[][]
    private readonly members: Connection[]
    private readonly inTopic = new Map<string, Set<number>>()
    private readonly hub: Hub
    private readonly joined = new Set<number>()
    private readonly connections = new Connections()

    constructor(deliveryDelayMs: number, count: number) {
      this.hub = new Hub(
        this.connections,
        new MemoryBroker(),
        (topic, data) => this.sendTo(topic, data),
        new Metrics('test'),
        hubOptions({ deliveryDelayMs }),
      )
      this.heard = Array.from({ length: count }, () => [])
      this.members = Array.from({ length: count }, (_, index) => this.member(index))
      for (const member of this.members) this.connections.add(member)
    }

    join(index: number): void {
      const member = this.members[index]
      if (member === undefined || this.joined.has(index)) return
      this.joined.add(index)
      void this.hub.acquire('room')
      this.hub.addSubscriber('room', member, { join: true, leave: false })
    }

    leave(index: number): void {
      const member = this.members[index]
      if (member === undefined || !this.joined.delete(index)) return
      this.hub.removeSubscriber('room', member, { join: true, leave: false })
    }

    say(text: string, excluded: number): void {
      const excludedClient = this.members[excluded]?.client
      this.hub.receive('room', [publication(text, { excludedClient })])
    }

    tell(): void {
      this.hub.receive('room', [JOIN])
    }

    private sendTo(topic: string, data: Uint8Array, except?: number): void {
      for (const index of this.inTopic.get(topic) ?? []) {
        if (index !== except) this.heard[index]?.push(...Buffer.from(data).toString().split('\n'))
      }
    }

    private member(index: number): Connection {
      const codec: Codec = index % 2 === 0 ? 'raw' : 'json'
      const of = (topic: string) => {
        const there = this.inTopic.get(topic) ?? new Set()
        this.inTopic.set(topic, there)
        return there
      }
      return stubMember({
        client: `member-${index}`,
        codec,
        socket: {
          send: () => undefined,
          ping: () => undefined,
          close: () => undefined,
          subscribe: (topic) => of(topic).add(index),
          unsubscribe: (topic) => of(topic).delete(index),
          broadcastToOthers: (topic, data) => this.sendTo(topic, data, index),
          bufferedBytes: () => 0,
        },
        isSubscribed: () => this.joined.has(index),
      })
    }
  }

  const MEMBERS = 4
  type Act = (world: World) => void
  const someone = fc.nat(MEMBERS - 1)
  const acts: fc.Arbitrary<Act> = fc.oneof(
    someone.map(
      (index): Act =>
        (world) =>
          world.join(index),
    ),
    someone.map(
      (index): Act =>
        (world) =>
          world.leave(index),
    ),
    { weight: 4, arbitrary: fc.tuple(fc.nat(999), fc.nat(2 * MEMBERS)).map(said) },
    fc.constant<Act>((world) => world.tell()),
    { weight: 2, arbitrary: fc.nat(70).map((ms) => () => vi.advanceTimersByTime(ms)) },
  )

  function said([text, excluded]: [number, number]): Act {
    return (world) => world.say(String(text), excluded)
  }

  it('lets everybody hear what it would hear without: once each, in order, with joins between', () => {
    fc.assert(
      fc.property(fc.array(acts, { minLength: 5, maxLength: 60 }), (course) => {
        const [delayed, prompt] = [50, 0].map((delayMs) => {
          const world = new World(delayMs, MEMBERS)
          for (let index = 0; index < MEMBERS; index++) world.join(index)
          for (const act of course) act(world)
          vi.advanceTimersByTime(2_000)
          return world.heard
        })
        expect(delayed).toEqual(prompt)
      }),
      { numRuns: 300 },
    )
  })
})
