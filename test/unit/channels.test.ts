import { expect, it } from 'vitest'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { Namespaces } from '../../src/channel/namespaces.js'
import { Channels } from '../../src/hub/channels.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { clientInfo } from '../contract/publications.js'

it('lists up to 10,000 clients of a channel, and only counts those of a larger one', async () => {
  const broker = new MemoryBroker()
  const store = new MemoryPresenceStore()
  const metrics = new Metrics('test')
  const log = createLogger({ level: 'silent', format: 'json' })
  const channels = new Channels({
    namespaces: new Namespaces(undefined),
    broker,
    presenceStore: store,
    maxHistoryPublications: 100,
    metrics,
    log,
  })
  for (let index = 0; index < 10_000; index++) await store.add('room', clientInfo(`c-${index}`, 'ann'))
  expect((await channels.presence('room')).size).toBe(10_000)
  await store.add('room', clientInfo('one more', 'bob'))
  await expect(channels.presence('room')).rejects.toMatchObject({ code: 106 })
  expect(await channels.presenceStats('room')).toEqual({ clients: 10_001, users: 2 })
})
