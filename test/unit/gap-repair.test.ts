import { beforeEach, describe, expect, it } from 'vitest'
import type { History, HistoryQuery } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { Connections } from '../../src/connection/connections.js'
import { Hub } from '../../src/hub/hub.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ChannelEvent, Publication, StreamPosition } from '../../src/protocol/publication.js'
import { hubOptions } from '../support/hub-options.js'
import { metric } from '../support/metric.js'
import { stubMember } from '../support/stub-member.js'

const CHANNEL = 'feed'
const META_TTL_MS = 60_000
/** Asks for the position only. */
const TOP = { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs: META_TTL_MS }
const NO_WISHES = { join: false, leave: false }

/** A broker whose relay loses what it is told to lose, while the streams have it. */
class LossyBroker extends MemoryBroker {
  isLosing = false
  /** Reads of streams that fail from now on. */
  failures = 0
  /** Reads wait for it. */
  readable: Promise<void> = Promise.resolve()
  reads = 0
  /** What happens while a stream is being read. */
  whileReading: () => void = () => undefined
  private readonly late: ChannelEvent[][] = []
  private hub: Hub | undefined

  override start(hub: Hub): void {
    this.hub = hub
    super.start({
      resumed: () => hub.resumed(),
      hasPresenceWatchers: (channel, type) => hub.hasPresenceWatchers(channel, type),
      receive: (channel, events) => {
        if (this.isLosing) this.late.push([...events])
        else hub.receive(channel, events)
      },
    })
  }

  override async history(channel: string, query: HistoryQuery): Promise<History> {
    this.reads++
    await this.readable
    this.whileReading()
    if (this.failures-- > 0) throw new BrokerError('unavailable', 'Redis cannot be reached')
    return super.history(channel, query)
  }

  /** What was lost comes after all. */
  deliverLate(): void {
    for (const events of this.late.splice(0)) this.hub?.receive(CHANNEL, events)
  }
}

let broker: LossyBroker
let metrics: Metrics
let hub: Hub
let connections: Connections
let heard: string[]
let missed: number
let whenHeard: () => void
/** Publications that the stream keeps. */
let size: number

beforeEach(async () => {
  broker = new LossyBroker()
  metrics = new Metrics('test')
  heard = []
  missed = 0
  size = 100
  whenHeard = () => undefined
  connections = new Connections()
  hub = new Hub(
    connections,
    broker,
    (_topic, data) => {
      for (const line of Buffer.from(data as Uint8Array)
        .toString()
        .split('\n')) {
        heard.push(String((JSON.parse(line) as { push: { pub: { data: number } } }).push.pub.data))
      }
      whenHeard()
    },
    metrics,
    hubOptions({ metaTtlMs: META_TTL_MS }),
  )
  broker.start(hub)
  await join('member')
})

async function join(client: string): Promise<void> {
  const member = stubMember({
    client,
    codec: 'json',
    isSubscribed: () => true,
    notifyGap: () => {
      missed++
      whenHeard()
    },
  })
  connections.add(member)
  await hub.acquire(CHANNEL)
  hub.addSubscriber(CHANNEL, member, NO_WISHES)
}

function said(data: number, position: StreamPosition | undefined): Publication {
  return {
    type: 'publication',
    data: Buffer.from(String(data)),
    isBinary: false,
    isJson: true,
    info: undefined,
    tags: undefined,
    position,
    excludedClient: undefined,
    publishedAtMs: Date.now(),
  }
}

function say(data: number): Promise<StreamPosition | undefined> {
  const publication = said(data, undefined)
  const stream = { size, ttlMs: 60_000, metaTtlMs: META_TTL_MS }
  return broker.publish(CHANNEL, publication, { stream, idempotencyKey: undefined })
}

async function lose(...all: number[]): Promise<void> {
  broker.isLosing = true
  for (const data of all) await say(data)
  broker.isLosing = false
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      whenHeard = resolve
    })
  }
}

async function counted(name: string): Promise<number> {
  return metric((await metrics.expose()).body, `fanfare_${name}`)
}

describe('the hub, when the relay loses publications of a stream', () => {
  it('hands out what is missing, before what came after it', async () => {
    await say(1)
    await lose(2, 3)
    await say(4)
    await say(5)
    await until(() => heard.length >= 5)
    expect(heard).toEqual(['1', '2', '3', '4', '5'])
    expect(missed).toBe(0)
    expect(await counted('relay_gaps_total')).toBe(1)
    expect(await counted('relay_repaired_publications_total')).toBeGreaterThanOrEqual(2)
    expect(await counted('relay_unrepaired_gaps_total')).toBe(0)
  })

  it('hands out what is missing when the relay is back and nothing more is said', async () => {
    await say(1)
    await lose(2, 3)
    hub.resumed()
    await until(() => heard.length >= 3)
    expect(heard).toEqual(['1', '2', '3'])
    expect(missed).toBe(0)
  })

  it('hands out nothing twice when what was missing comes after all', async () => {
    await say(1)
    await lose(2, 3)
    await say(4)
    await until(() => heard.length >= 4)
    broker.deliverLate()
    await say(5)
    await until(() => heard.length >= 5)
    expect(heard).toEqual(['1', '2', '3', '4', '5'])
  })

  it('repairs more than one read gives', async () => {
    size = 5_000
    await say(0)
    await lose(...Array.from({ length: 2_500 }, (_, index) => index + 1))
    await say(2_501)
    await until(() => heard.length >= 2_502)
    expect(heard).toEqual(Array.from({ length: 2_502 }, (_, index) => String(index)))
    expect(missed).toBe(0)
  })

  it('tries again when the stream cannot be read at once', async () => {
    await say(1)
    broker.failures = 2
    await lose(2)
    hub.resumed()
    await until(() => heard.length >= 2)
    await lose(3)
    broker.failures = 2
    await say(4)
    await until(() => heard.length >= 4)
    expect(heard).toEqual(['1', '2', '3', '4'])
    expect(missed).toBe(0)
  })

  it('holds back no more than 10,000 publications while it repairs', async () => {
    size = 20_000
    let read: () => void = () => undefined
    broker.readable = new Promise((resolve) => {
      read = resolve
    })
    await say(0)
    await lose(1)
    for (let data = 2; data < 10_003; data++) await say(data)
    read()
    await until(() => missed > 0)
    expect(missed).toBe(1)
    expect(await counted('relay_unrepaired_gaps_total')).toBe(1)
    // Others than those who follow the stream get what was held back.
    await until(() => heard.length >= 10_001)
    expect([heard[0], heard[1], heard.at(-1)]).toEqual(['0', '2', '10001'])
  })

  it('tells members when the stream has lost it too, and goes on', async () => {
    size = 2
    await say(1)
    await lose(2, 3, 4)
    await say(5)
    await until(() => missed > 0)
    await say(6)
    await until(() => heard.length >= 3)
    expect(heard).toEqual(['1', '5', '6'])
    expect(missed).toBe(1)
    expect(await counted('relay_unrepaired_gaps_total')).toBe(1)
  })

  it('tells members when the stream began anew', async () => {
    await say(1)
    const other = new LossyBroker()
    other.start(hub)
    await other.subscribe(CHANNEL)
    broker.history = (channel, query) => other.history(channel, query)
    const { position } = await other.history(CHANNEL, TOP)
    hub.resumed()
    await until(() => missed > 0)
    expect(missed).toBe(1)
    expect(hub.canStartAt(CHANNEL, position)).toBe(true)
  })

  it('lets nobody begin ahead of what the others have heard', async () => {
    await say(1)
    await lose(2, 3)
    const { position } = await broker.history(CHANNEL, TOP)
    expect(hub.canStartAt(CHANNEL, position)).toBe(false)
    await hub.catchUp(CHANNEL, position)
    expect(hub.canStartAt(CHANNEL, position)).toBe(true)
    expect(hub.canStartAt(CHANNEL, { ...position, offset: 2 })).toBe(false)
    await until(() => heard.length >= 3)
    expect(heard).toEqual(['1', '2', '3'])
  })
  it.each([
    ['an offset that the stream has not reached', (epoch: string) => ({ epoch, offset: 1e9 })],
    ['an epoch that is over', () => ({ epoch: 'over', offset: 7 })],
  ])('drops what comes with %s, and goes on', async (_what, placeIn) => {
    const first = await say(1)
    hub.receive(CHANNEL, [said(666, placeIn(first?.epoch ?? ''))])
    hub.receive(CHANNEL, [said(2, undefined)])
    await until(() => heard.length >= 2)
    await say(3)
    await until(() => heard.length >= 3)
    expect(heard).toEqual(['1', '2', '3'])
    expect(missed).toBe(0)
    expect(broker.reads).toBeLessThan(4)
    expect(await counted('relay_malformed_total')).toBe(1)
  })

  it('sends members to begin anew who believed a forged offset before any other', async () => {
    const { epoch } = (await broker.history(CHANNEL, TOP)).position
    hub.receive(CHANNEL, [said(666, { epoch, offset: 1e9 })])
    await say(1)
    hub.resumed()
    await until(() => missed > 0)
    await say(2)
    await until(() => heard.length >= 2)
    expect(heard).toEqual(['666', '2'])
    expect(await counted('relay_malformed_total')).toBe(1)
  })

  it('reads a few times, not for ever, where every read is followed by another gap', async () => {
    const { epoch = '' } = (await say(1)) ?? {}
    const forge = () => hub.receive(CHANNEL, [said(666, { epoch, offset: 1e9 })])
    broker.whileReading = forge
    forge()
    await until(() => missed > 0)
    expect(broker.reads).toBeLessThan(20)
    expect(await counted('relay_unrepaired_gaps_total')).toBe(1)
    broker.whileReading = () => undefined
    await say(2)
    await until(() => heard.length >= 2)
    expect(heard).toEqual(['1', '2'])
  })
})
