import { beforeEach, describe, expect, it } from 'vitest'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import type { PresenceStore } from '../../src/presence/presence-store.js'
import { clientInfo } from './publications.js'

const IMPLEMENTATIONS: [string, () => Promise<PresenceStore>][] = [
  ['MemoryPresenceStore', () => Promise.resolve(new MemoryPresenceStore())],
]

describe.each(IMPLEMENTATIONS)('%s', (_, create) => {
  let store: PresenceStore

  beforeEach(async () => {
    store = await create()
  })

  it('counts the clients of a channel as they come and go', async () => {
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

  it('counts a client that is added twice once', async () => {
    await store.add('room', clientInfo('c-1', 'ann'))
    expect(await store.add('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect(await store.remove('room', clientInfo('c-1', 'ann'))).toBe(0)
  })

  it('removes a client that is not there, or from a channel that is not, without harm', async () => {
    expect(await store.remove('nowhere', clientInfo('c-1', 'ann'))).toBe(0)
    await store.add('room', clientInfo('c-1', 'ann'))
    expect(await store.remove('room', clientInfo('c-2', 'ann'))).toBe(1)
    await store.remove('room', clientInfo('c-1', 'ann'))
    expect(await store.remove('room', clientInfo('c-1', 'ann'))).toBe(0)
  })

  it('keeps channels apart, whatever they are called', async () => {
    const names = ['room', 'ROOM', 'room ', '', '__proto__', 'constructor', 'room:c-1']
    for (const name of names) expect(await store.add(name, clientInfo('c-1', 'ann'))).toBe(1)
    for (const name of names) expect(await store.remove(name, clientInfo('c-1', 'ann'))).toBe(0)
  })

  it('counts rightly when many come and go at once', async () => {
    const clients = Array.from({ length: 200 }, (_, index) => `c-${index}`)
    const added = await Promise.all(clients.map((client) => store.add('room', clientInfo(client, 'ann'))))
    expect([...added].sort((a, b) => a - b)).toEqual(clients.map((_, index) => index + 1))
    const left = await Promise.all(clients.map((client) => store.remove('room', clientInfo(client, 'ann'))))
    expect(Math.min(...left)).toBe(0)
    expect(await store.add('room', clientInfo('c-1', 'ann'))).toBe(1)
  })
})
