import { beforeEach, describe, expect, it } from 'vitest'
import type { History, HistoryQuery } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { Connections } from '../../src/connection/connections.js'
import { Hub } from '../../src/hub/hub.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ChannelEvent, Publication, StreamPosition } from '../../src/protocol/publication.js'
import { publication } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'
import { metric } from '../support/metric.js'
import { stubConnection } from '../support/stub-connection.js'

const CHANNEL = 'feed'
const META_TTL_MS = 60_000
/** Asks for the position only. */
const TOP = { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs: META_TTL_MS }
const NO_EVENTS = { join: false, leave: false }

/** A broker whose relay loses publications while `isLosing` is set, although its streams keep them. */
class LossyBroker extends MemoryBroker {
  isLosing = false
  /** Number of the next reads of streams that fail. */
  failures = 0
  /** Reads of streams wait for it. */
  readable: Promise<void> = Promise.resolve()
  reads = 0
  /** Called while a stream is being read. */
  whileReading: () => void = () => undefined
  private readonly late: ChannelEvent[][] = []
  private hub: Hub | undefined

  override start(hub: Hub): void {
    this.hub = hub
    super.start({
      resumed: (channels) => hub.resumed(channels),
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

  /** Relays the lost publications after all. */
  deliverLate(): void {
    for (const events of this.late.splice(0)) this.hub?.receive(CHANNEL, events)
  }
}

let broker: LossyBroker
let metrics: Metrics
let hub: Hub
let connections: Connections
let received: string[]
let gapCount: number
let onDelivery: () => void
/** Publications that the stream keeps. */
let size: number

beforeEach(async () => {
  broker = new LossyBroker()
  metrics = new Metrics('test')
  received = []
  gapCount = 0
  size = 100
  onDelivery = () => undefined
  connections = new Connections()
  hub = new Hub({
    connections,
    broker,
    broadcastToTopic: (_topic, data) => {
      for (const line of Buffer.from(data as Uint8Array)
        .toString()
        .split('\n')) {
        received.push(String((JSON.parse(line) as { push: { pub: { data: number } } }).push.pub.data))
      }
      onDelivery()
    },
    metrics,
    ...hubOptions({ metaTtlMs: META_TTL_MS }),
  })
  broker.start(hub)
  await subscribe('client')
})

async function subscribe(client: string): Promise<void> {
  const connection = stubConnection({
    client,
    codec: 'json',
    isSubscribed: () => true,
    notifyGap: () => {
      gapCount++
      onDelivery()
    },
  })
  connections.add(connection)
  await hub.acquire(CHANNEL)
  hub.addSubscriber(CHANNEL, connection, NO_EVENTS, true)
}

function jsonPublication(data: number, position: StreamPosition | undefined): Publication {
  return publication(String(data), { isJson: true, position })
}

function publish(data: number, part: Partial<Publication> = {}): Promise<StreamPosition | undefined> {
  const stream = { size, ttlMs: 60_000, metaTtlMs: META_TTL_MS }
  const event = { ...jsonPublication(data, undefined), ...part }
  return broker.publish(CHANNEL, event, { stream, idempotencyKey: undefined })
}

async function lose(...all: number[]): Promise<void> {
  broker.isLosing = true
  for (const data of all) await publish(data)
  broker.isLosing = false
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      onDelivery = resolve
    })
  }
}

async function counterValue(name: string): Promise<number> {
  return metric((await metrics.expose()).body, `fanfare_${name}`)
}

describe('the hub, when the relay loses publications of a stream', () => {
  it('delivers the missing publications before later ones', async () => {
    await publish(1)
    await lose(2, 3)
    await publish(4)
    await publish(5)
    await until(() => received.length >= 5)
    expect(received).toEqual(['1', '2', '3', '4', '5'])
    expect(gapCount).toBe(0)
    expect(await counterValue('relay_gaps_total')).toBe(1)
    expect(await counterValue('relay_repaired_publications_total')).toBeGreaterThanOrEqual(2)
    expect(await counterValue('relay_unrepaired_gaps_total')).toBe(0)
  })

  it('delivers the missing publications when the relay resumes and nothing more is published', async () => {
    await publish(1)
    await lose(2, 3)
    hub.resumed([CHANNEL])
    await until(() => received.length >= 3)
    expect(received).toEqual(['1', '2', '3'])
    expect(gapCount).toBe(0)
  })

  it.each([
    ['arrives', false],
    ['is among the missing ones', true],
  ])('counts a publication that this node cannot read as delivered, when it %s', async (_what, isLost) => {
    await publish(1)
    broker.isLosing = isLost
    await publish(2)
    await publish(3, { isUnknown: true })
    await publish(4)
    await publish(5, { isUnknown: true })
    broker.isLosing = false
    if (isLost) await hub.catchUp(CHANNEL, (await broker.history(CHANNEL, TOP)).position)
    await publish(6)
    await until(() => received.length >= 4)
    expect(received).toEqual(['1', '2', '4', '6'])
    expect(gapCount).toBe(0)
    expect(await counterValue('relay_gaps_total')).toBe(isLost ? 1 : 0)
    expect(await counterValue('relay_unrepaired_gaps_total')).toBe(0)
    expect(metrics.relayUnknown.entry.value).toBe(2)
  })

  it('delivers nothing twice when the missing publications arrive late', async () => {
    await publish(1)
    await lose(2, 3)
    await publish(4)
    await until(() => received.length >= 4)
    broker.deliverLate()
    await publish(5)
    await until(() => received.length >= 5)
    expect(received).toEqual(['1', '2', '3', '4', '5'])
  })

  it('repairs more publications than one read returns', async () => {
    size = 5_000
    await publish(0)
    await lose(...Array.from({ length: 2_500 }, (_, index) => index + 1))
    await publish(2_501)
    await until(() => received.length >= 2_502)
    expect(received).toEqual(Array.from({ length: 2_502 }, (_, index) => String(index)))
    expect(gapCount).toBe(0)
  })

  it('retries when the stream cannot be read at once', async () => {
    await publish(1)
    broker.failures = 2
    await lose(2)
    hub.resumed([CHANNEL])
    await until(() => received.length >= 2)
    await lose(3)
    broker.failures = 2
    await publish(4)
    await until(() => received.length >= 4)
    expect(received).toEqual(['1', '2', '3', '4'])
    expect(gapCount).toBe(0)
  })

  it('buffers no more than 10,000 publications while it repairs, and reads further ones from the stream', async () => {
    size = 20_000
    let read: () => void = () => undefined
    broker.readable = new Promise((resolve) => {
      read = resolve
    })
    await publish(0)
    await lose(1)
    for (let data = 2; data < 10_003; data++) await publish(data)
    read()
    await until(() => received.length >= 10_003)
    expect(received).toEqual(Array.from({ length: 10_003 }, (_, data) => String(data)))
    expect(gapCount).toBe(0)
    expect(await counterValue('relay_unrepaired_gaps_total')).toBe(0)
  })

  it('notifies subscribers of the gap when the stream has lost publications too, and continues', async () => {
    size = 2
    await publish(1)
    await lose(2, 3, 4)
    await publish(5)
    await until(() => gapCount > 0)
    await publish(6)
    await until(() => received.length >= 3)
    expect(received).toEqual(['1', '5', '6'])
    expect(gapCount).toBe(1)
    expect(await counterValue('relay_unrepaired_gaps_total')).toBe(1)
  })

  it('notifies subscribers of the gap when the stream has another epoch', async () => {
    await publish(1)
    const other = new LossyBroker()
    other.start(hub)
    await other.subscribe(CHANNEL)
    broker.history = (channel, query) => other.history(channel, query)
    broker.positions = (queries) => other.positions(queries)
    const { position } = await other.history(CHANNEL, TOP)
    hub.resumed([CHANNEL])
    await until(() => gapCount > 0)
    expect(gapCount).toBe(1)
    expect(hub.canStartAt(CHANNEL, position)).toBe(true)
  })

  it('lets no subscriber start ahead of what the others have received', async () => {
    await publish(1)
    await lose(2, 3)
    const { position } = await broker.history(CHANNEL, TOP)
    expect(hub.canStartAt(CHANNEL, position)).toBe(false)
    await hub.catchUp(CHANNEL, position)
    expect(hub.canStartAt(CHANNEL, position)).toBe(true)
    expect(hub.canStartAt(CHANNEL, { ...position, offset: 2 })).toBe(false)
    await until(() => received.length >= 3)
    expect(received).toEqual(['1', '2', '3'])
  })

  it.each([
    ['an offset that the stream has not reached', (epoch: string) => ({ epoch, offset: 1e9 })],
    ['an outdated epoch', () => ({ epoch: 'outdated', offset: 7 })],
  ])('drops a publication with %s, and continues', async (_what, positionIn) => {
    const first = await publish(1)
    hub.receive(CHANNEL, [jsonPublication(666, positionIn(first?.epoch ?? ''))])
    hub.receive(CHANNEL, [jsonPublication(2, undefined)])
    await until(() => received.length >= 2)
    await publish(3)
    await until(() => received.length >= 3)
    expect(received).toEqual(['1', '2', '3'])
    expect(gapCount).toBe(0)
    expect(broker.reads).toBeLessThan(4)
    expect(await counterValue('relay_malformed_total')).toBe(1)
  })

  it('notifies subscribers of a gap when their first publication had a forged offset', async () => {
    const { epoch } = (await broker.history(CHANNEL, TOP)).position
    hub.receive(CHANNEL, [jsonPublication(666, { epoch, offset: 1e9 })])
    await publish(1)
    hub.resumed([CHANNEL])
    await until(() => gapCount > 0)
    await publish(2)
    await until(() => received.length >= 2)
    expect(received).toEqual(['666', '2'])
    expect(await counterValue('relay_malformed_total')).toBe(1)
  })

  it('reads the stream a bounded number of times when another gap follows every read', async () => {
    const { epoch = '' } = (await publish(1)) ?? {}
    const forge = () => hub.receive(CHANNEL, [jsonPublication(666, { epoch, offset: 1e9 })])
    broker.whileReading = forge
    forge()
    await until(() => gapCount > 0)
    expect(broker.reads).toBeLessThan(20)
    expect(await counterValue('relay_unrepaired_gaps_total')).toBe(1)
    broker.whileReading = () => undefined
    await publish(2)
    await until(() => received.length >= 2)
    expect(received).toEqual(['1', '2'])
  })
})
