import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import type { PresenceChange } from '../../src/presence/presence-store.js'
import { cleanUp } from '../support/clean-ups.js'
import { RedisMonitor } from '../support/redis-monitor.js'
import { clientInfo, refusal, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

let redis: RedisServer
let admin: Redis
let one: RedisNode
let two: RedisNode
let changes: PresenceChange[]

const report = (change: PresenceChange): Promise<void> => {
  changes.push(change)
  return Promise.resolve()
}
const stored = async (channel: string) => (await admin.hkeys(one.keys.presenceClients(channel))).sort()
const expireLease = (node: string) => admin.del(one.keys.lease(node))
const clients = (count: number) =>
  Array.from({ length: count }, (_, index) => clientInfo(`c-${index}`, `u-${index % 3}`))

beforeEach(async () => {
  redis = await RedisServer.start()
  admin = new Redis(redis.url)
  admin.on('error', () => undefined)
  one = new RedisNode(redis.url, 'one')
  two = new RedisNode(redis.url, 'two')
  changes = []
  for (const { peers, presence } of [one, two]) {
    await retryWhileRefused(() => peers.announce())
    await presence.restoreOwnClients(true, report)
  }
})
afterEach(async () => {
  await cleanUp()
  one.close()
  two.close()
  admin.disconnect()
  redis.resume()
  await redis.remove()
})

describe('the presence of a cluster', () => {
  it('lists and counts the clients of all nodes on each node', async () => {
    expect(await one.presence.add('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect(await two.presence.add('room', clientInfo('c-2', 'ann'))).toBe(2)
    for (const { presence } of [one, two]) {
      expect([...(await presence.list('room')).keys()].sort()).toEqual(['c-1', 'c-2'])
      expect(await presence.stats('room')).toEqual({ clients: 2, users: 1 })
    }
    expect(await one.presence.remove('room', clientInfo('c-1', 'ann'))).toBe(1)
  })

  it('leaves no keys in Redis but those of live nodes when all clients have left', async () => {
    for (const { presence } of [one, two]) {
      for (const channel of ['room', 'lobby']) await presence.add(channel, clientInfo('c-1', 'ann'))
    }
    for (const { presence } of [one, two]) {
      for (const channel of ['room', 'lobby']) await presence.remove(channel, clientInfo('c-1', 'ann'))
    }
    const keys = [one.keys.era(), one.keys.lease('one'), one.keys.lease('two'), one.keys.knownNodes()]
    expect((await admin.keys('*')).sort()).toEqual(keys.sort())
  })

  it('is changed by one script call for up to a hundred joins or leaves of a channel at once', async () => {
    const scriptCalls = async () => {
      const lines = (await admin.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)
      return [...lines].reduce((sum, [, calls]) => sum + Number(calls), 0)
    }
    const both = (change: 'add' | 'remove', count: number) =>
      Promise.all(
        ['room', 'lobby'].map((channel) =>
          Promise.all(clients(count).map((client) => one.presence[change](channel, client))),
        ),
      )
    // So that Redis knows the scripts.
    await both('add', 1)
    await both('remove', 1)
    const before = await scriptCalls()
    const upTo = Array.from({ length: 150 }, (_, index) => index + 1)
    expect(await both('add', 150)).toEqual([upTo, upTo])
    expect((await scriptCalls()) - before).toBe(4)
    expect(await both('remove', 100)).toEqual(
      [upTo, upTo].map((numbers) => numbers.slice(50).map((n) => 200 - n)),
    )
    expect((await scriptCalls()) - before).toBe(6)
  })

  it('has the keys of a channel in one slot of a Redis Cluster', () => {
    for (const channel of ['room', '}', '{', '{}x', 'a}b{c}']) {
      const keys = [
        one.keys.presenceClients(channel),
        one.keys.presenceUsers(channel),
        one.keys.presenceOfNode('one', channel),
      ]
      const tags = keys.map((key) => /\{([^}]+)\}/.exec(key)?.[1])
      expect(tags[0]).toBeTruthy()
      expect(new Set(tags).size).toBe(1)
    }
  })

  it('works with a Redis user that may use only keys with the prefix', async () => {
    await admin.acl('SETUSER', 'limited', 'on', '>pw', '~test:*', '&test:*', '+@all', '-@dangerous')
    const limited = new RedisNode(`redis://limited:pw@127.0.0.1:${redis.port}`, 'limited')
    await retryWhileRefused(() => limited.peers.announce())
    expect(await limited.presence.add('room', clientInfo('c-1', 'ann'))).toBe(1)
    expect((await limited.presence.list('room')).size).toBe(1)
    await expireLease('two')
    expect(await limited.presence.sweepDeadNode('two', report)).toBe(true)
    limited.close()
  })

  it('ignores entries that no node has written', async () => {
    await one.presence.add('room', clientInfo('c-1', 'ann'))
    await admin.hset(one.keys.presenceClients('room'), { x: 'hello', y: '{"node":1}', z: '[]' })
    expect([...(await one.presence.list('room')).keys()]).toEqual(['c-1'])
  })

  it.each(['no JSON', '7', '{"user":7}'])('continues when an entry was forged as %s', async (forged) => {
    const [ann, bob] = [clientInfo('c-1', 'ann'), clientInfo('c-2', 'bob')]
    const forge = (client: string) => admin.hset(one.keys.presenceClients('room'), client, forged)
    await one.presence.add('room', ann)
    await two.presence.add('room', bob)
    await forge('c-1')
    expect(await one.presence.remove('room', ann)).toBe(1)
    expect(await one.presence.stats('room')).toEqual({ clients: 1, users: 1 })
    await forge('c-1')
    expect(await one.presence.add('room', ann)).toBe(2)
    await forge('c-2')
    await expireLease('two')
    expect(await one.presence.sweepDeadNode('two', report)).toBe(true)
    expect(await stored('room')).toEqual(['c-1'])
  })

  it('is refused in a channel whose keys are damaged, and in no other', async () => {
    const ann = clientInfo('c-1', 'ann')
    const [damaged, names] = [one.keys.presenceUsers('bad'), ['good', 'bad', 'better']]
    const damage = () => admin.set(damaged, 'no hash')
    await damage()
    const added = await Promise.allSettled(names.map((channel) => one.presence.add(channel, ann)))
    expect(added.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await refusal(one.presence.restoreOwnClients(false, report))).reason).toBe('unavailable')
    expect(changes).toEqual([])
    await admin.del(damaged)
    await one.presence.restoreOwnClients(false, report)
    expect(changes).toEqual([{ type: 'join', channel: 'bad', info: ann, online: 1 }])
    await damage()
    const removed = await Promise.allSettled(names.map((channel) => one.presence.remove(channel, ann)))
    expect(removed.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await admin.smembers(one.keys.presenceChannels('one'))).toEqual(['bad'])
  })

  it('accepts changes of thousands of channels at once', async () => {
    const names = Array.from({ length: 5_000 }, (_, index) => `room ${index}`)
    const ann = clientInfo('c-1', 'ann')
    // A slow machine may not send everything to Redis in time.
    const all = (change: 'add' | 'remove') =>
      Promise.all(names.map((name) => retryWhileRefused(() => one.presence[change](name, ann))))
    expect(new Set(await all('add'))).toEqual(new Set([1]))
    expect(await admin.scard(one.keys.presenceChannels('one'))).toBe(names.length)
    expect(new Set(await all('remove'))).toEqual(new Set([0]))
    expect(await admin.exists(one.keys.presenceChannels('one'))).toBe(0)
  })

  it('counts 100,000 clients without reading them', async () => {
    const fill = `for i = 1, 100000 do
      redis.call('HSET', KEYS[1], 'c-' .. i, '{"node":"one","user":"u-' .. i .. '"}')
      redis.call('HSET', KEYS[2], 'u-' .. i, 1)
    end`
    await admin.eval(fill, 2, one.keys.presenceClients('room'), one.keys.presenceUsers('room'))
    const monitor = await RedisMonitor.of(redis.url)
    expect(await one.presence.stats('room')).toEqual({ clients: 100_000, users: 100_000 })
    const key = one.keys.presenceUsers('room')
    await monitor.indexOf(({ args }) => args.includes(key), 0, 'Redis has executed the commands')
    const executed = monitor.commands.filter(({ args }) => args.some((arg) => arg.includes(':presence:')))
    expect(executed.map(({ name }) => name)).toEqual(['HLEN', 'HLEN'])
  })
})

describe('while Redis cannot be reached, presence', () => {
  it.each(['down', 'frozen'])('(%s) is refused', async (how) => {
    if (how === 'down') await redis.stop()
    else redis.freeze()
    const requests = [
      one.presence.add('room', clientInfo('c-1', 'ann')),
      one.presence.remove('room', clientInfo('c-1', 'ann')),
      one.presence.list('room'),
      one.presence.stats('room'),
      one.presence.restoreOwnClients(true, report),
      one.presence.sweepDeadNode('two', report),
      one.presence.removeOwnClients(report),
    ]
    for (const { reason } of await Promise.all(requests.map(refusal))) {
      expect(reason).toBe('unavailable')
    }
  })
})

describe('a node restores', () => {
  const restored = () => retryWhileRefused(() => one.presence.restoreOwnClients(false, report))

  it('its clients without joins when Redis has lost its data', async () => {
    for (const info of clients(500)) await one.presence.add('room', info)
    await redis.stop()
    await redis.startAgain()
    await retryWhileRefused(() => one.peers.announce())
    await restored()
    expect(await one.presence.stats('room')).toEqual({ clients: 500, users: 3 })
    expect((await one.presence.list('room')).size).toBe(500)
    expect(changes).toEqual([])
  })

  it('clients that joined during an outage with a join, and reports a leave for those that left', async () => {
    await one.presence.add('room', clientInfo('c-1', 'ann'))
    redis.freeze()
    const failed = [
      refusal(one.presence.remove('room', clientInfo('c-1', 'ann'))),
      refusal(one.presence.add('room', clientInfo('c-2', 'bob'))),
      refusal(one.presence.add('room', clientInfo('c-3', 'eve'))),
    ]
    await Promise.all(failed)
    await refusal(one.presence.remove('room', clientInfo('c-3', 'eve')))
    redis.resume()
    await restored()
    expect(await stored('room')).toEqual(['c-2'])
    expect(changes).toEqual([
      { type: 'leave', channel: 'room', info: clientInfo('c-1', 'ann'), online: expect.any(Number) },
      { type: 'join', channel: 'room', info: clientInfo('c-2', 'bob'), online: 1 },
    ])
    changes = []
    await restored()
    expect(changes).toEqual([])
  })

  it('no clients while no change has failed', async () => {
    await one.presence.add('room', clientInfo('c-1', 'ann'))
    await restored()
    await admin.config('RESETSTAT')
    await restored()
    expect(await admin.info('commandstats')).not.toMatch(/evalsha|sscan|hset/)
  })
})

describe('a client that left while Redis refused writes', () => {
  it('is removed later, with its leave', async () => {
    await one.presence.add('room', clientInfo('c-1', 'ann'))
    await one.presence.add('room', clientInfo('c-2', 'bob'))
    await admin.acl('SETUSER', 'default', '-evalsha')
    await refusal(one.presence.remove('room', clientInfo('c-1', 'ann')))
    await admin.acl('SETUSER', 'default', '+evalsha')
    await one.presence.restoreOwnClients(false, report)
    expect(await stored('room')).toEqual(['c-2'])
    expect(changes).toEqual([{ type: 'leave', channel: 'room', info: clientInfo('c-1', 'ann'), online: 1 }])
  })
})

describe('a dead node', () => {
  it('is left out of lists at once, and swept with a leave and the right count for each client', async () => {
    await one.presence.add('room', clientInfo('other', 'ann'))
    for (const info of clients(1_000)) await two.presence.add('room', info)
    for (let index = 0; index < 150; index++)
      await two.presence.add(`room-${index}`, clientInfo('c-1', 'ann'))
    await expireLease('two')
    expect([...(await one.presence.list('room')).keys()]).toEqual(['other'])
    expect(await one.presence.sweepDeadNode('two', report)).toBe(true)
    expect(await one.presence.stats('room')).toEqual({ clients: 1, users: 1 })
    const inRoom = changes.filter(({ channel }) => channel === 'room')
    expect(inRoom.map(({ online }) => online)).toEqual(
      Array.from({ length: 1_000 }, (_, index) => 1_000 - index),
    )
    expect(new Set(inRoom.map(({ info }) => info.client)).size).toBe(1_000)
    expect(changes).toHaveLength(1_150)
    expect(await admin.keys('test:presence:*two*')).toEqual([])
  })

  it('is swept by one node at a time, and by another one after the first has stopped', async () => {
    await two.presence.add('room', clientInfo('c-1', 'ann'))
    await expireLease('two')
    await admin.set(one.keys.sweepLock('two'), 'three', 'PX', 50)
    expect(await one.presence.sweepDeadNode('two', report)).toBe(false)
    expect(await stored('room')).toEqual(['c-1'])
    while (!(await one.presence.sweepDeadNode('two', report)));
    expect(await stored('room')).toEqual([])
    expect(changes).toHaveLength(1)
  })

  it('is left to the node that has taken the lock while this one stalled', async () => {
    await two.presence.add('room', clientInfo('c-1', 'ann'))
    await expireLease('two')
    const lock = one.keys.sweepLock('two')
    const takeLock = async () => void (await admin.set(lock, 'three', 'PX', 60_000))
    expect((await refusal(one.presence.sweepDeadNode('two', takeLock))).reason).toBe('unavailable')
    expect(await admin.get(lock)).toBe('three')
    expect(await admin.pttl(lock)).toBeGreaterThan(30_000)
  })

  it('can be swept again at once after a sweep that failed', async () => {
    await two.presence.add('room', clientInfo('c-1', 'ann'))
    await expireLease('two')
    const users = await admin.dumpBuffer(one.keys.presenceUsers('room'))
    await admin.set(one.keys.presenceUsers('room'), 'no hash')
    expect((await refusal(one.presence.sweepDeadNode('two', report))).reason).toBe('unavailable')
    expect(await admin.exists(one.keys.sweepLock('two'))).toBe(0)
    await admin.restore(one.keys.presenceUsers('room'), 0, users, 'REPLACE')
    expect(await one.presence.sweepDeadNode('two', report)).toBe(true)
    expect(await stored('room')).toEqual([])
  })

  it('is not clear of clients while one is left that was added during the sweep', async () => {
    await two.presence.add('room', clientInfo('c-1', 'ann'))
    await expireLease('two')
    const addMeanwhile = async () => void (await two.presence.add('room', clientInfo('c-2', 'ann')))
    expect(await one.presence.sweepDeadNode('two', addMeanwhile)).toBe(false)
    expect(await stored('room')).toEqual(['c-2'])
    expect(await one.presence.sweepDeadNode('two', report)).toBe(true)
    expect(await stored('room')).toEqual([])
  })

  it('that returns before it is swept is not taken for dead, also where it has no clients', async () => {
    expect(await one.presence.sweepDeadNode('two', report)).toBe(false)
  })

  it('that returns after it was swept restores its clients with joins', async () => {
    await two.presence.add('room', clientInfo('c-1', 'ann'))
    await expireLease('two')
    await one.presence.sweepDeadNode('two', report)
    changes = []
    expect(await two.peers.announce()).toBe(true)
    await two.presence.restoreOwnClients(true, report)
    expect([...(await one.presence.list('room')).keys()]).toEqual(['c-1'])
    expect(changes).toEqual([{ type: 'join', channel: 'room', info: clientInfo('c-1', 'ann'), online: 1 }])
    expect(await admin.smembers(one.keys.presenceChannels('two'))).toEqual(['room'])
  })

  it('that returns before it is swept keeps its clients, without leaves and joins', async () => {
    for (const info of clients(500)) await two.presence.add('room', info)
    await expireLease('two')
    await two.peers.announce()
    const [isClear] = await Promise.all([
      one.presence.sweepDeadNode('two', report),
      two.presence.restoreOwnClients(true, report),
    ])
    expect(isClear).toBe(false)
    expect((await one.presence.list('room')).size).toBe(500)
    expect(changes).toEqual([])
  })

  it('that returns while it is swept has all its clients in the end, with a join for every leave', async () => {
    for (const info of clients(2_000)) await two.presence.add('room', info)
    await expireLease('two')
    let returned: Promise<void> | undefined
    const returnToCluster = async () => {
      await two.peers.announce()
      await two.presence.restoreOwnClients(true, report)
    }
    const isClear = await one.presence.sweepDeadNode('two', (change) => {
      returned ??= returnToCluster()
      return report(change)
    })
    await returned
    expect(isClear).toBe(false)
    expect((await one.presence.list('room')).size).toBe(2_000)
    expect(await one.presence.stats('room')).toEqual({ clients: 2_000, users: 3 })
    const of = (type: string) =>
      changes
        .filter((change) => change.type === type)
        .map(({ info }) => info.client)
        .sort()
    expect(of('leave').length).toBeGreaterThan(0)
    expect(of('join')).toEqual(of('leave'))
  })
})

describe('a node that stops', () => {
  it('removes its remaining clients', async () => {
    for (const info of clients(300)) await one.presence.add('room', info)
    await two.presence.add('room', clientInfo('other', 'ann'))
    await one.presence.removeOwnClients(report)
    expect(await stored('room')).toEqual(['other'])
    expect(changes).toHaveLength(300)
  })
})
