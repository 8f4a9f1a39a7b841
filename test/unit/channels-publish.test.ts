import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { DEFAULT_NAMESPACE_OPTIONS, Namespaces } from '../../src/channel/namespaces.js'
import { Channels } from '../../src/hub/channels.js'
import type { Logger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { PresenceAnnouncer } from '../../src/presence/presence-announcer.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import { clientInfo, publication } from '../contract/publications.js'
import { RecordingBroker } from '../support/recording-broker.js'

const TEXT = { data: Buffer.from('text'), isBinary: false, isJson: false }

let broker: RecordingBroker
let channels: Channels
let metrics: Metrics
let lines: string[]
let log: Logger

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
  broker = new RecordingBroker()
  metrics = new Metrics('test')
  lines = []
  const write = (_facts: unknown, sentence?: unknown) => void lines.push(String(sentence))
  log = { debug: write, info: write, warn: write, error: write }
  const namespaces = new Namespaces(['', 'chat'].map((name) => ({ ...DEFAULT_NAMESPACE_OPTIONS, name })))
  channels = new Channels({
    namespaces,
    broker,
    presenceStore: new MemoryPresenceStore(),
    maxHistoryPublications: 100,
    metrics,
    log,
  })
})
afterEach(() => vi.useRealTimers())

describe('a publication', () => {
  it('is stamped with the time, and counted by its source once the broker has accepted it', async () => {
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
    const counts = [metrics.publicationCounter('chat', 'raw'), metrics.publicationCounter('', 'api')]
    expect(counts.map(({ value }) => value)).toEqual([1, 1])
  })

  it('that the relay refuses is counted by reason, and rejected with the error of the broker', async () => {
    broker.failure = new BrokerError('timeout', 'Redis did not answer in time')
    await expect(channels.publish({ channel: 'room', source: 'api', ...TEXT })).rejects.toBe(broker.failure)
    const { values } = await metrics.publicationFailures.get()
    expect(values).toEqual([{ labels: { source: 'api', reason: 'timeout' }, value: 1 }])
    expect(metrics.publicationCounter('', 'api').value).toBe(0)
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

describe('a client that joins and leaves', () => {
  it('is announced with the number of clients in the channel', async () => {
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

  it('causes no log line while the relay is down, but a defect does', async () => {
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
