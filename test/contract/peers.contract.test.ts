import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { MemoryPeers } from '../../src/node/memory-peers.js'
import { LEASE_MS, type PeerMessage, type Peers, type ReceivedMessage } from '../../src/node/peers.js'
import { EventLog } from '../support/event-log.js'
import { retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'
import { REDIS_TOPOLOGIES, SharedTopology } from './redis-topologies.js'
import { TopologyNode } from './topology-node.js'

type Inbox = EventLog<ReceivedMessage>

/** Resolves with all messages that a node has received once there are at least `count`. */
async function received(inbox: Inbox, count: number): Promise<readonly ReceivedMessage[]> {
  await inbox.first(count)
  return inbox.items
}

interface Cluster {
  /** The peers of each node, in the order of `ids`. */
  readonly peers: readonly [Peers, ...Peers[]]
  readonly ids: readonly string[]
  close(): void
}

function memoryCluster(): Promise<Cluster> {
  return Promise.resolve({ peers: [new MemoryPeers('one')], ids: ['one'], close: () => undefined })
}

async function redisCluster(topology: SharedTopology): Promise<Cluster> {
  const redis = await topology.use()
  const [one, two] = [new TopologyNode(redis.url, 'one'), new TopologyNode(redis.url, 'two')]
  const close = () => {
    one.close()
    two.close()
  }
  return { peers: [one.peers, two.peers], ids: ['one', 'two'], close }
}

const topologies = REDIS_TOPOLOGIES.map(([name, start]) => ({ name, topology: new SharedTopology(start) }))
afterAll(() => Promise.all(topologies.map(({ topology }) => topology.remove())))

describe.each([
  ['MemoryPeers', memoryCluster] as const,
  ...topologies.map(({ name, topology }) => [`RedisPeers on ${name}`, () => redisCluster(topology)] as const),
])('%s', (_, start) => {
  let cluster: Cluster
  let inboxes: Inbox[]
  let first: Peers
  let firstInbox: Inbox

  beforeEach(async () => {
    cluster = await start()
    first = cluster.peers[0]
    firstInbox = new EventLog()
    inboxes = cluster.peers.map((_, index) => (index === 0 ? firstInbox : new EventLog()))
    await Promise.all(cluster.peers.map((one, index) => one.start((inboxes[index] ?? firstInbox).add)))
  })
  afterEach(() => cluster.close())

  it('deliver a probe that a node sends to itself unchanged', async () => {
    const probe: PeerMessage = { type: 'probe', sentAtMs: 1_234.5678 }
    await first.sendTo('one', probe)
    expect(await received(firstInbox, 1)).toEqual([probe])
  })

  it('deliver messages to all nodes in order to every node, including the sender', async () => {
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
    for (const inbox of inboxes) expect(await received(inbox, questions.length)).toEqual(questions)
  })

  it('deliver a message to one node to no other', async () => {
    const answer: PeerMessage = {
      type: 'answer',
      id: 'q1',
      from: 'one',
      answer: { 'ann "é"\n': [1, null, 2.5] },
    }
    const last: PeerMessage = { type: 'probe', sentAtMs: 1 }
    await first.sendTo('one', answer)
    await first.sendTo('unknown', answer)
    await first.sendToAll(last)
    expect(await received(firstInbox, 2)).toEqual([answer, last])
    for (const inbox of inboxes.slice(1)) expect(await received(inbox, 1)).toEqual([last])
  })

  it('list every node that has announced itself as alive', async () => {
    for (const one of cluster.peers) await retryWhileRefused(() => one.announce())
    for (const one of cluster.peers)
      expect([...(await one.aliveNodes())].sort()).toEqual([...cluster.ids].sort())
  })

  it('continue after a reconnection', async () => {
    first.reconnect()
    // Redis drops what is published before the node is subscribed again.
    while (firstInbox.items.length === 0) {
      await retryWhileRefused(() => first.sendTo('one', { type: 'probe', sentAtMs: 7 }))
    }
    expect(firstInbox.items[0]).toEqual({ type: 'probe', sentAtMs: 7 })
    await retryWhileRefused(() => first.announce())
    expect(await retryWhileRefused(() => first.aliveNodes())).toContain('one')
  })

  it('can leave more than once', async () => {
    await retryWhileRefused(() => first.announce())
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
      await retryWhileRefused(() => peers.announce())
    }
  })
  afterEach(async () => {
    one.close()
    two.close()
    admin.disconnect()
    await redis.remove()
  })

  it('forget a node at once when it leaves', async () => {
    await two.peers.leave()
    expect(await one.peers.aliveNodes()).toEqual(['one'])
    await two.peers.announce()
    expect([...(await one.peers.aliveNodes())].sort()).toEqual(['one', 'two'])
  })

  it('list a node as dead from the end of its lease until it is forgotten', async () => {
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

  it('report to a node that its lease had ended when it announces itself', async () => {
    expect(await one.peers.announce()).toBe(false)
    await admin.del(one.keys.lease('one'))
    expect(await one.peers.announce()).toBe(true)
    expect(await one.peers.announce()).toBe(false)
  })

  it('leave only the era in Redis once all nodes have left, and before that no key without an end but leases', async () => {
    await admin.persist(one.keys.knownNodes())
    await one.peers.leave()
    await two.peers.leave()
    expect(await admin.keys('*')).toEqual([one.keys.era()])
  })

  it('reject requests and messages while Redis is down', async () => {
    admin.disconnect()
    await redis.stop()
    await expect(one.peers.announce()).rejects.toThrow('Redis cannot be reached')
    await expect(one.peers.aliveNodes()).rejects.toThrow('Redis cannot be reached')
    await expect(one.peers.leave()).rejects.toThrow('Redis cannot be reached')
    await expect(one.peers.sendToAll({ type: 'probe', sentAtMs: 1 })).rejects.toThrow()
  })
})
