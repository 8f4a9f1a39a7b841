import { beforeEach, expect, it } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { DEFAULT_NAMESPACE_OPTIONS, Namespaces } from '../../src/channel/namespaces.js'
import { Channels } from '../../src/hub/channels.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { clientInfo, publication } from '../contract/publications.js'

const STREAM = { size: 10, ttlMs: 60_000, metaTtlMs: 60_000 }

let broker: MemoryBroker
let store: MemoryPresenceStore
let channels: Channels

beforeEach(() => {
  broker = new MemoryBroker()
  store = new MemoryPresenceStore()
  const { size: historySize, ttlMs: historyTtlMs } = STREAM
  const kept = { ...DEFAULT_NAMESPACE_OPTIONS, name: '', presence: true, historySize, historyTtlMs }
  channels = new Channels({
    namespaces: new Namespaces([kept]),
    broker,
    presenceStore: store,
    maxHistoryPublications: 100,
    metrics: new Metrics('test'),
    log: createLogger({ level: 'silent', format: 'json' }),
  })
})

it('lists up to 10,000 clients of a channel, and only counts those of a larger one', async () => {
  for (let index = 0; index < 10_000; index++) await store.add('room', clientInfo(`c-${index}`, 'ann'))
  expect((await channels.presence('room')).size).toBe(10_000)
  await store.add('room', clientInfo('one more', 'bob'))
  await expect(channels.presence('room')).rejects.toMatchObject({ code: 106 })
  expect(await channels.presenceStats('room')).toEqual({ clients: 10_001, users: 2 })
})

it('leaves publications that this node cannot read out of the history, and keeps the offsets of the others', async () => {
  for (const isUnknown of [false, true, false]) {
    const options = { stream: STREAM, idempotencyKey: undefined }
    await broker.publish('room', publication('1', { isUnknown }), options)
  }
  const query = { limit: -1, since: undefined, isReverse: false, maxBytes: 1_000 }
  const { publications, position } = await channels.history('room', query)
  expect(publications.map((one) => one.position?.offset)).toEqual([1, 3])
  expect(position.offset).toBe(3)
})
