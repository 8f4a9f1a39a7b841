import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryPeers } from '../../src/node/memory-peers.js'
import { LEASE_MS, type PeerMessage, type Peers } from '../../src/node/peers.js'
import { RedisServer } from '../support/redis-server.js'
import { eventually } from './publications.js'
import { RedisNode } from './redis-node.js'

/** The messages that a node gets, in order, as they come. */
class Inbox {
  readonly messages: PeerMessage[] = []
  private readonly watchers = new Set<() => void>()

  readonly handler = (message: PeerMessage): void => {
    this.messages.push(message)
    for (const watch of this.watchers) watch()
  }

  async until(count: number): Promise<readonly PeerMessage[]> {
    await new Promise<void>((resolve) => {
      const watch = () => {
        if (this.messages.length >= count) resolve()
      }
      this.watchers.add(watch)
      watch()
    })
    return this.messages
  }
}

interface Cluster {
  /** Peers by the id of their node; the first is `one`. */
  readonly peers: readonly [Peers, ...Peers[]]
  readonly ids: readonly string[]
  close(): Promise<void>
}

function memoryCluster(): Promise<Cluster> {
  return Promise.resolve({ peers: [new MemoryPeers('one')], ids: ['one'], close: () => Promise.resolve() })
}

async function redisCluster(): Promise<Cluster> {
  const redis = await RedisServer.start()
  const [one, two] = [new RedisNode(redis.url, 'one'), new RedisNode(redis.url, 'two')]
  const close = async () => {
    one.close()
    two.close()
    await redis.remove()
  }
  return { peers: [one.peers, two.peers], ids: ['one', 'two'], close }
}

describe.each([
  ['MemoryPeers', memoryCluster],
  ['RedisPeers', redisCluster],
])('%s', (_, start) => {
  let cluster: Cluster
  let inboxes: Inbox[]
  let first: Peers
  let firstInbox: Inbox

  beforeEach(async () => {
    cluster = await start()
    first = cluster.peers[0]
    firstInbox = new Inbox()
    inboxes = cluster.peers.map((_, index) => (index === 0 ? firstInbox : new Inbox()))
    await Promise.all(cluster.peers.map((one, index) => one.start((inboxes[index] ?? firstInbox).handler)))
  })
  afterEach(() => cluster.close())

  it('bring a probe that a node sends itself back to it as it was', async () => {
    const probe: PeerMessage = { type: 'probe', sentAtMs: 1_234.5678 }
    await first.sendTo('one', probe)
    expect(await firstInbox.until(1)).toEqual([probe])
  })

  it('bring what is sent to all to every node, the sender included, in order', async () => {
    const ann = { user: 'ann' }
    const questions: PeerMessage[] = [
      { type: 'question', id: 'q1', from: 'one', ask: { about: 'info' } },
      { type: 'question', id: 'q2', from: 'one', ask: { about: 'channels', pattern: 'news:*' } },
      {
        type: 'question',
        id: 'q3',
        from: 'one',
        ask: {
          about: 'subscribe',
          to: { user: 'ann', client: 'c', session: 's' },
          channel: 'news',
          options: { info: '{}', data: '"x"', expiresAtMs: 1, recoverSince: { epoch: 'e', offset: 7 } },
        },
      },
      { type: 'question', id: 'q4', from: 'one', ask: { about: 'unsubscribe', to: ann, channel: 'news' } },
      {
        type: 'question',
        id: 'q5',
        from: 'one',
        ask: { about: 'disconnect', to: ann, close: { code: 4000, reason: 'é' }, whitelist: ['c'] },
      },
      { type: 'question', id: 'q6', from: 'one', ask: { about: 'refresh', to: ann, expiresAtMs: 0 } },
      { type: 'question', id: 'q7', from: 'one', ask: { about: 'refresh', to: ann } },
    ]
    for (const question of questions) await first.sendToAll(question)
    for (const inbox of inboxes) expect(await inbox.until(questions.length)).toEqual(questions)
  })

  it('bring what is sent to one node to no other', async () => {
    const answer: PeerMessage = {
      type: 'answer',
      id: 'q1',
      from: 'one',
      answer: { 'ann "é"\n': [1, null, 2.5] },
    }
    const last: PeerMessage = { type: 'probe', sentAtMs: 1 }
    await first.sendTo('one', answer)
    await first.sendTo('nobody', answer)
    await first.sendToAll(last)
    expect(await firstInbox.until(2)).toEqual([answer, last])
    for (const inbox of inboxes.slice(1)) expect(await inbox.until(1)).toEqual([last])
  })

  it('know every node that has announced itself as alive', async () => {
    for (const one of cluster.peers) await eventually(() => one.announce())
    for (const one of cluster.peers)
      expect([...(await one.aliveNodes())].sort()).toEqual([...cluster.ids].sort())
  })

  it('go on after the connections were made anew', async () => {
    first.reconnect()
    // What Redis takes before the node listens again reaches nobody.
    while (firstInbox.messages.length === 0) {
      await eventually(() => first.sendTo('one', { type: 'probe', sentAtMs: 7 }))
    }
    expect(firstInbox.messages[0]).toEqual({ type: 'probe', sentAtMs: 7 })
    await eventually(() => first.announce())
    expect(await eventually(() => first.aliveNodes())).toContain('one')
  })

  it('can leave, and leave twice', async () => {
    await eventually(() => first.announce())
    await first.leave()
    await first.leave()
  })
})

describe('RedisPeers', () => {
  let redis: RedisServer
  let admin: Redis
  let one: RedisNode
  let two: RedisNode

  beforeEach(async () => {
    redis = await RedisServer.start()
    admin = new Redis(redis.url)
    one = new RedisNode(redis.url, 'one')
    two = new RedisNode(redis.url, 'two')
    for (const { peers } of [one, two]) {
      await peers.start(() => undefined)
      await eventually(() => peers.announce())
    }
  })
  afterEach(async () => {
    one.close()
    two.close()
    admin.disconnect()
    await redis.remove()
  })

  it('forget a node that leaves, at once', async () => {
    await two.peers.leave()
    expect(await one.peers.aliveNodes()).toEqual(['one'])
    await two.peers.announce()
    expect([...(await one.peers.aliveNodes())].sort()).toEqual(['one', 'two'])
  })

  it('take a node for dead whose lease has run out, until it is forgotten', async () => {
    const leaseMs = await admin.pttl(one.keys.lease('two'))
    expect(leaseMs).toBeGreaterThan(0)
    expect(leaseMs).toBeLessThanOrEqual(LEASE_MS)
    await admin.del(one.keys.lease('two'))
    expect(await one.peers.aliveNodes()).toEqual(['one'])
    expect(await one.peers.deadNodes()).toEqual(['two'])
    await one.peers.forget('two')
    expect(await one.peers.deadNodes()).toEqual([])
    expect(await admin.smembers(one.keys.knownNodes())).toEqual(['one'])
  })

  it('tell a node that others may have taken it for dead', async () => {
    expect(await one.peers.announce()).toBe(false)
    await admin.del(one.keys.lease('one'))
    expect(await one.peers.announce()).toBe(true)
    expect(await one.peers.announce()).toBe(false)
  })

  it('leave nothing in Redis when all have left, and only leases that end before', async () => {
    await admin.persist(one.keys.knownNodes())
    await one.peers.leave()
    await two.peers.leave()
    expect(await admin.keys('*')).toEqual([])
  })

  it('reject what cannot be known or told while Redis is down', async () => {
    admin.disconnect()
    await redis.stop()
    await expect(one.peers.announce()).rejects.toThrow('Redis cannot be reached')
    await expect(one.peers.aliveNodes()).rejects.toThrow('Redis cannot be reached')
    await expect(one.peers.leave()).rejects.toThrow('Redis cannot be reached')
    await expect(one.peers.sendToAll({ type: 'probe', sentAtMs: 1 })).rejects.toThrow()
  })
})
