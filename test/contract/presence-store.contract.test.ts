import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import type { PresenceStore } from '../../src/presence/presence-store.js'
import { clientInfo, retryWhileRefused } from './publications.js'
import { REDIS_TOPOLOGIES, SharedTopology } from './redis-topologies.js'
import { TopologyNode } from './topology-node.js'

interface StartedStore {
  readonly store: PresenceStore
  close(): void
}

function memoryStore(): Promise<StartedStore> {
  return Promise.resolve({ store: new MemoryPresenceStore(), close: () => undefined })
}

async function redisStore(topology: SharedTopology): Promise<StartedStore> {
  const redis = await topology.use()
  const node = new TopologyNode(redis.url)
  await retryWhileRefused(() => node.announce())
  return { store: node.presence, close: () => node.close() }
}

const topologies = REDIS_TOPOLOGIES.map(([name, start]) => ({ name, topology: new SharedTopology(start) }))
afterAll(() => Promise.all(topologies.map(({ topology }) => topology.remove())))

const IMPLEMENTATIONS: [string, () => Promise<StartedStore>][] = [
  ['MemoryPresenceStore', memoryStore],
  ...topologies.map(({ name, topology }): [string, () => Promise<StartedStore>] => [
    `RedisPresenceStore on ${name}`,
    () => redisStore(topology),
  ]),
]

describe.each(IMPLEMENTATIONS)('%s', (_, start) => {
  let started: StartedStore
  let store: PresenceStore

  beforeEach(async () => {
    started = await start()
    store = started.store
  })
  afterEach(() => started.close())

  it('counts the clients of a channel as they join and leave', async () => {
    expect(await store.add('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect(await store.add('room', clientInfo('c-2', 'bob'))).toBe(2)
    expect(await store.remove('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect(await store.remove('room', clientInfo('c-2', 'ann'))).toBe(0)
    expect(await store.add('room', clientInfo('c-3', 'eve'))).toBe(1)
  })

  it('counts clients, not users', async () => {
    expect(await store.add('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect(await store.add('room', clientInfo('c-2', 'ann'))).toBe(2)
    expect(await store.add('room', clientInfo('c-3', ''))).toBe(3)
  })

  it('counts a client once when it is added twice', async () => {
    await store.add('room', clientInfo('c-1', 'ann'))
    expect(await store.add('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect(await store.remove('room', clientInfo('c-1', 'ann'))).toBe(0)
  })

  it('ignores the removal of a client that is not present, and from an unknown channel', async () => {
    expect(await store.remove('nowhere', clientInfo('c-1', 'ann'))).toBe(0)
    await store.add('room', clientInfo('c-1', 'ann'))
    expect(await store.remove('room', clientInfo('c-2', 'ann'))).toBe(1)
    await store.remove('room', clientInfo('c-1', 'ann'))
    expect(await store.remove('room', clientInfo('c-1', 'ann'))).toBe(0)
  })

  it('separates channels of any name', async () => {
    const names = ['room', 'ROOM', 'room ', '', '__proto__', 'constructor', 'room:c-1', '}', '{}', '}room{']
    for (const name of names) expect(await store.add(name, clientInfo('c-1', 'ann'))).toBe(1)
    for (const name of names) expect([...(await store.list(name)).keys()]).toEqual(['c-1'])
    for (const name of names) expect(await store.remove(name, clientInfo('c-1', 'ann'))).toBe(0)
  })

  it('counts correctly when many clients join and leave at once', async () => {
    const clients = Array.from({ length: 200 }, (_, index) => `c-${index}`)
    const added = await Promise.all(clients.map((client) => store.add('room', clientInfo(client, 'ann'))))
    expect([...added].sort((a, b) => a - b)).toEqual(clients.map((_, index) => index + 1))
    const left = await Promise.all(clients.map((client) => store.remove('room', clientInfo(client, 'ann'))))
    expect(Math.min(...left)).toBe(0)
    expect(await store.add('room', clientInfo('c-1', 'ann'))).toBe(1)
  })

  it('lists clients by the additions and removals before it, without waiting for their answers', async () => {
    // So that Redis knows the scripts: a script that is sent in full would arrive later.
    await store.add('lobby', clientInfo('c-1', 'ann'))
    await store.remove('lobby', clientInfo('c-1', 'ann'))
    const added = store.add('room', clientInfo('c-1', 'ann'))
    expect([...(await store.list('room')).keys()]).toEqual(['c-1'])
    const removed = store.remove('room', clientInfo('c-1', 'ann'))
    expect(await store.stats('room')).toEqual({ clients: 0, users: 0 })
    expect(await Promise.all([added, removed])).toEqual([1, 0])
  })

  it('lists all clients with their infos byte for byte', async () => {
    const infos = [
      {
        client: 'c-1',
        user: 'Ån "x"\n\u0000',
        connInfo: '{"name":"é","n":1.0}',
        chanInfo: '[ 1,  2 ]',
      },
      { client: 'c-2', user: '', connInfo: undefined, chanInfo: 'null' },
      { client: 'c-3', user: '__proto__', connInfo: undefined, chanInfo: undefined },
    ]
    for (const info of infos) await store.add('room', info)
    const listed = await store.list('room')
    expect(listed.size).toBe(3)
    for (const info of infos) expect(listed.get(info.client)).toEqual(info)
    expect((await store.list('elsewhere')).size).toBe(0)
  })

  it('lists a client that is added again with its latest infos', async () => {
    await store.add('room', clientInfo('c-1', 'ann'))
    const renewed = { ...clientInfo('c-1', 'bob'), connInfo: '1' }
    expect(await store.add('room', renewed)).toBe(1)
    expect([...(await store.list('room')).values()]).toEqual([renewed])
    expect(await store.stats('room')).toEqual({ clients: 1, users: 1 })
  })

  it('counts each user once, and all anonymous users together as one', async () => {
    expect(await store.stats('room')).toEqual({ clients: 0, users: 0 })
    const users = ['ann', 'ann', '', '', 'bob']
    for (const [index, user] of users.entries()) await store.add('room', clientInfo(`c-${index}`, user))
    expect(await store.stats('room')).toEqual({ clients: 5, users: 3 })
    await store.remove('room', clientInfo('c-0', 'ann'))
    await store.remove('room', clientInfo('c-2', ''))
    expect(await store.stats('room')).toEqual({ clients: 3, users: 3 })
    // The user that it was added with counts, not the one that it is removed with.
    await store.remove('room', clientInfo('c-4', 'ann'))
    await store.remove('room', clientInfo('c-3', ''))
    expect(await store.stats('room')).toEqual({ clients: 1, users: 1 })
    await store.remove('room', clientInfo('c-1', 'ann'))
    expect(await store.stats('room')).toEqual({ clients: 0, users: 0 })
  })

  it('lists and counts all clients of a channel with thousands', async () => {
    const clients = Array.from({ length: 5_000 }, (_, index) => clientInfo(`c-${index}`, `u-${index % 10}`))
    await Promise.all(clients.map((info) => store.add('room', info)))
    expect((await store.list('room')).size).toBe(5_000)
    expect((await store.list('room', 5_000)).size).toBe(5_000)
    const { size } = await store.list('room', 100)
    expect(size).toBeGreaterThan(100)
    expect(size).toBeLessThan(5_000)
    expect(await store.stats('room')).toEqual({ clients: 5_000, users: 10 })
  })
})
