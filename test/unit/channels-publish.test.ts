import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { DEFAULT_NAMESPACE_OPTIONS, Namespaces } from '../../src/channel/namespaces.js'
import { Channels } from '../../src/hub/channels.js'
import type { Logger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { PresenceAnnouncer } from '../../src/presence/presence-announcer.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ChannelEvent } from '../../src/protocol/publication.js'
import { clientInfo, publication } from '../contract/publications.js'

/** Takes everything, until it is told to refuse. */
class FickleBroker extends MemoryBroker {
  readonly events: ChannelEvent[] = []
  failure: Error | undefined

  override publish(_channel: string, event: ChannelEvent): Promise<undefined> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    this.events.push(event)
    return Promise.resolve(undefined)
  }
}

const TEXT = { data: Buffer.from('text'), isBinary: false, isJson: false }

let broker: FickleBroker
let channels: Channels
let metrics: Metrics
let lines: string[]
let log: Logger

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
  broker = new FickleBroker()
  metrics = new Metrics('test')
  lines = []
  const write = (_facts: unknown, sentence?: unknown) => void lines.push(String(sentence))
  log = { debug: write, info: write, warn: write, error: write }
  const namespaces = new Namespaces(['', 'chat'].map((name) => ({ ...DEFAULT_NAMESPACE_OPTIONS, name })))
  channels = new Channels(namespaces, broker, new MemoryPresenceStore(), 100, metrics, log)
})
afterEach(() => vi.useRealTimers())

describe('a publication', () => {
  it('is stamped with the time and counted by where it came from, once it is taken', async () => {
    const data = Buffer.from('hello')
    const channel = 'chat:room'
    await channels.publish({
      channel,
      source: 'raw',
      data,
      isBinary: true,
      isJson: false,
      excludedClient: 'ann',
    })
    expect(broker.events).toEqual([publication(data, { isBinary: true, excludedClient: 'ann' })])
    await channels.publish({ channel: 'room', source: 'api', ...TEXT })
    const counts = [metrics.publications('chat', 'raw'), metrics.publications('', 'api')]
    expect(counts.map(({ value }) => value)).toEqual([1, 1])
  })

  it('that the relay refuses is counted by reason, and its publisher is told', async () => {
    broker.failure = new BrokerError('timeout', 'Redis did not answer in time')
    await expect(channels.publish({ channel: 'room', source: 'api', ...TEXT })).rejects.toBe(broker.failure)
    const { values } = await metrics.publicationFailures.get()
    expect(values).toEqual([{ labels: { source: 'api', reason: 'timeout' }, value: 1 }])
    expect(metrics.publications('', 'api').value).toBe(0)
  })

  it('that is refused is logged at most once a second', async () => {
    broker.failure = new BrokerError('unavailable', 'Redis cannot be reached')
    for (let index = 0; index < 30; index++) {
      await channels.publish({ channel: 'room', source: 'raw', ...TEXT }).catch(() => undefined)
      vi.advanceTimersByTime(100)
    }
    expect(lines).toEqual(Array(3).fill('publications fail'))
  })
})

const BOTH = { presence: true, joinLeave: true }

describe('who comes and goes', () => {
  it('is announced with the number of those who are there', async () => {
    const presence = new PresenceAnnouncer(new MemoryPresenceStore(), broker, log, 4)
    presence.joined('room', clientInfo('c-1', 'ann'), BOTH)
    presence.joined('room', clientInfo('c-2', ''), BOTH)
    presence.left('room', clientInfo('c-1', 'ann'), BOTH)
    await vi.advanceTimersByTimeAsync(0)
    expect(broker.events).toEqual([
      { type: 'join', info: clientInfo('c-1', 'ann'), online: 1 },
      { type: 'join', info: clientInfo('c-2', ''), online: 2 },
      { type: 'leave', info: clientInfo('c-1', 'ann'), online: 1 },
    ])
  })

  it('is not logged as an error while the relay is down, but a defect is', async () => {
    const presence = new PresenceAnnouncer(new MemoryPresenceStore(), broker, log, 4)
    broker.failure = new BrokerError('unavailable', 'Redis cannot be reached')
    presence.joined('room', clientInfo('c-1', 'ann'), BOTH)
    await vi.advanceTimersByTimeAsync(0)
    expect(lines).toEqual([])
    broker.failure = new TypeError('a defect')
    presence.left('room', clientInfo('c-1', 'ann'), BOTH)
    await vi.advanceTimersByTimeAsync(0)
    expect(lines).toEqual(['presence failed'])
  })
})
