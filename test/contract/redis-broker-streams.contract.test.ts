import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import type { HistoryQuery, PublishOptions } from '../../src/broker/broker.js'
import type { Logger } from '../../src/log.js'
import { relayEntry } from '../support/relay-entry.js'
import { CHANNEL, clusterTest } from './cluster-test.js'
import { commandCalls } from './command-calls.js'
import { publishTexts, storedTexts } from './history.js'
import { publication, refusal, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

/** The limits of the streams. */
const STREAM = { size: 100, ttlMs: 60_000, metaTtlMs: 120_000 }
const WITH_HISTORY: PublishOptions = { stream: STREAM, idempotencyKey: undefined }
const ALL: HistoryQuery = { limit: 100, sinceOffset: undefined, isReverse: false, metaTtlMs: 240_000 }

function publish({ broker }: RedisNode, channel: string, texts: readonly string[], options = WITH_HISTORY) {
  return publishTexts(broker, channel, texts, options)
}

function stored({ broker }: RedisNode, channel: string): Promise<string[]> {
  return storedTexts(broker, channel, ALL)
}

describe('a RedisBroker with history', () => {
  let redis: RedisServer
  let admin: Redis
  let node: RedisNode
  let other: RedisNode
  let channels = 0
  let channel: string

  beforeAll(async () => {
    // So that tests can change the replication id, which otherwise needs a failover.
    redis = await RedisServer.start(['--enable-debug-command', 'yes'])
    admin = new Redis(redis.url)
    node = new RedisNode(redis.url)
    other = new RedisNode(redis.url)
    await node.broker.subscribe('warm-up')
    await other.broker.subscribe('warm-up')
  })
  afterAll(async () => {
    node.close()
    other.close()
    admin.disconnect()
    await redis.remove()
  })
  beforeEach(() => {
    channel = `channel ${++channels}`
  })

  /** Cuts the publisher connection of a node, and waits for its reconnection. */
  async function reconnect(target: RedisNode): Promise<void> {
    const before = await target.reconnections()
    const list = String(await admin.client('LIST', 'TYPE', 'NORMAL'))
    const ids = [...list.matchAll(/^id=(\d+) .*name=fanfare:publisher /gm)].map(([, id]) => id ?? '')
    // The list is in the order in which the nodes connected.
    await admin.call('CLIENT', 'KILL', 'ID', ids[target === node ? 0 : 1] ?? '')
    while ((await target.reconnections()) === before) await new Promise(setImmediate)
    await retryWhileRefused(() => target.broker.publish('warm-up', publication('reconnected')))
  }

  it('publishes by itself what a script has not carried out, since the master has another replication id', async () => {
    await publish(node, channel, ['1'])
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    const positions = await publish(node, channel, ['2', '3'])
    expect(positions.map((position) => position?.offset)).toEqual([2, 3])
    expect(await stored(node, channel)).toEqual(['1 1', '2 2', '3 3'])
  })

  it('keeps a stream whose position is read from expiring, and hardly ever writes for that', async () => {
    await publish(node, channel, ['1'])
    const metaKey = node.keys.streamMeta(channel)
    const read = () => node.broker.positions([{ channel, metaTtlMs: 120_000 }])
    const expiries = await commandCalls(admin, 'pexpire')
    await read()
    expect(await commandCalls(admin, 'pexpire')).toBe(expiries)
    await admin.pexpire(metaKey, 50_000)
    await read()
    expect(await admin.pttl(metaKey)).toBeGreaterThan(110_000)
  })

  it('reads no position of another era, or of a key that was damaged', async () => {
    const other = `${channel} other`
    for (const name of [channel, other]) await publish(node, name, ['1'])
    await admin.hset(node.keys.streamMeta(channel), 'era', 'another')
    await admin.hset(node.keys.streamMeta(other), 'offset', 'x')
    const queries = [channel, other].map((name) => ({ channel: name, metaTtlMs: 120_000 }))
    expect(await node.broker.positions(queries)).toEqual(['none', 'none'])
  })

  it('sends a burst as one script call and one PUBLISH', async () => {
    await publish(other, channel, ['warm-up'])
    const [evalshaBefore, publishBefore] = [
      await commandCalls(admin, 'evalsha'),
      await commandCalls(admin, 'publish'),
    ]
    await publish(
      other,
      channel,
      Array.from({ length: 200 }, (_, index) => `${index}`),
    )
    expect((await commandCalls(admin, 'evalsha')) - evalshaBefore).toBe(1)
    expect((await commandCalls(admin, 'publish')) - publishBefore).toBe(1)
  })

  it('expires publications by the last publish, and the epoch by the last use', async () => {
    await publish(other, channel, ['1'], { stream: STREAM, idempotencyKey: 'a' })
    const ttlMs = async (key: string) => Math.ceil((await admin.pttl(key)) / 1_000) * 1_000
    expect(await ttlMs(node.keys.stream(channel))).toBe(STREAM.ttlMs)
    expect(await ttlMs(node.keys.streamMeta(channel))).toBe(STREAM.metaTtlMs)
    expect(await ttlMs(node.keys.idempotency(channel, 'a'))).toBe(5 * 60_000)
    await node.broker.history(channel, ALL)
    expect(await ttlMs(node.keys.streamMeta(channel))).toBe(ALL.metaTtlMs)
    expect(await ttlMs(node.keys.stream(channel))).toBe(STREAM.ttlMs)
  })

  it('remembers an epoch for at most an hour while nothing was published', async () => {
    const meta = node.keys.streamMeta(channel)
    const query = { ...ALL, metaTtlMs: 7_200_000 }
    await node.broker.history(channel, query)
    const ttlMs = await admin.pttl(meta)
    expect(ttlMs).toBeGreaterThan(0)
    expect(ttlMs).toBeLessThanOrEqual(3_600_000)
    await publish(node, channel, ['1'])
    await node.broker.history(channel, query)
    expect(await admin.pttl(meta)).toBeGreaterThan(3_600_000)
  })

  it('counts and skips entries that no node has written', async () => {
    await publish(other, channel, ['1'])
    const join = relayEntry({ kind: 'join', client: 'ann', payload: '{}' })
    const stream = node.keys.stream(channel)
    await admin.xadd(stream, '2-0', 'e', 'hello')
    await admin.xadd(stream, '3-0', 'e', '')
    await admin.xadd(stream, '4-0', 'e', join)
    await admin.xadd(stream, '5-0', 'e', Buffer.concat([join, Buffer.of(0)]))
    const before = await node.malformedCount()
    expect(await stored(node, channel)).toEqual(['1 1'])
    expect((await node.malformedCount()) - before).toBe(4)
  })

  it('refuses a channel whose key has another type, and no other channel', async () => {
    await admin.set(node.keys.stream(channel), 'hello')
    await admin.hset(node.keys.streamMeta(channel), { epoch: 'e', offset: 'many', master: '' })
    // Invalid metadata begins a new stream.
    expect((await publish(other, channel, ['1']))[0]?.offset).toBe(1)
    await admin.set(node.keys.streamMeta(channel), 'hello')
    const refused = refusal(other.broker.publish(channel, publication('2'), WITH_HISTORY))
    await publish(other, `${channel} neighbour`, ['1'])
    expect((await refused).reason).toBe('unavailable')
    expect((await refusal(node.broker.history(channel, ALL))).reason).toBe('unavailable')
  })

  it('continues when Redis has lost its scripts, in the order of each channel', async () => {
    await node.broker.subscribe(channel)
    await publish(other, channel, ['1'])
    await admin.script('FLUSH')
    const neighbours = Array.from({ length: 20 }, (_, index) => `${channel} ${index}`)
    const [mixed, alone] = await Promise.all([
      Promise.all(
        ['2', 'plain', '3', '4'].map((text) =>
          other.broker.publish(channel, publication(text), text === 'plain' ? undefined : WITH_HISTORY),
        ),
      ),
      Promise.all(neighbours.map((name) => other.broker.publish(name, publication('1'), WITH_HISTORY))),
    ])
    expect(mixed.map((one) => one?.offset)).toEqual([2, undefined, 3, 4])
    expect(alone.map((one) => one?.offset)).toEqual(neighbours.map(() => 1))
    await node.recorder.until(channel, 5)
    expect(node.recorder.textsOf(channel)).toEqual(['1', '2', 'plain', '3', '4'])
    await admin.script('FLUSH')
    expect((await other.broker.publish(channel, publication('5'), WITH_HISTORY))?.offset).toBe(5)
    await admin.script('FLUSH')
    expect(await stored(node, channel)).toEqual(['1 1', '2 2', '3 3', '4 4', '5 5'])
    await admin.script('FLUSH')
    const once = { ...WITH_HISTORY, idempotencyKey: 'a' }
    expect((await publish(other, channel, ['6', '6'], once)).map((one) => one?.offset)).toEqual([6, 6])
  })

  it('keep their epoch when the replication id changes in passing, as after the last replica left', async () => {
    const [first] = await publish(other, channel, ['1'])
    // It has no second replication id afterwards, as one has that was promoted.
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    await reconnect(other)
    const { publications, position } = await other.broker.history(channel, ALL)
    expect(position).toEqual(first)
    expect(publications).toHaveLength(1)
    expect(await retryWhileRefused(() => publish(node, channel, ['2']))).toEqual([
      { epoch: first?.epoch, offset: 2 },
    ])
    expect(await publish(other, channel, ['3'])).toEqual([{ epoch: first?.epoch, offset: 3 }])
  })

  it('are not written to by a node that has identified another master, until it has identified this one', async () => {
    const [first] = await publish(other, channel, ['1'])
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    const answers = await Promise.allSettled([
      publish(other, channel, ['2']),
      other.broker.history(`${channel} 2`, ALL),
    ])
    for (const answer of answers) {
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ reason: 'unavailable' })
    }
    const [next] = await retryWhileRefused(() => publish(other, channel, ['3']))
    expect(next?.epoch).toBe(first?.epoch)
    expect(await stored(other, channel)).toContain(`${next?.offset} 3`)
  })

  it('works with a Redis user that may not read the replication id, and warns once', async () => {
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>pw', '~test:*', '&test:*', '+@all', '-info')
    const warnings: { reason?: string }[] = []
    const silent = () => undefined
    const log: Logger = {
      debug: silent,
      info: silent,
      warn: (facts: object) => void warnings.push(facts),
      error: silent,
    }
    const limited = new RedisNode(redis.url.replace('//', '//app:pw@'), 'limited', undefined, log)
    try {
      await limited.broker.subscribe(channel)
      const [first] = await publish(limited, channel, ['1'])
      const [second] = await publish(limited, channel, ['2'], { ...WITH_HISTORY, idempotencyKey: 'a' })
      expect(second).toEqual({ epoch: first?.epoch, offset: 2 })
      await limited.recorder.until(channel, 2)
      expect(await stored(limited, channel)).toEqual(['1 1', '2 2'])
      await admin.call('CLIENT', 'KILL', 'USER', 'app')
      expect((await retryWhileRefused(() => publish(limited, channel, ['3'])))[0]?.epoch).toBe(first?.epoch)
      expect(warnings.filter(({ reason }) => reason === 'redis_identity_unknown')).toHaveLength(1)
    } finally {
      limited.close()
    }
  })
})

it('streams begin new epochs when a replica is promoted, and keep what it has', async () => {
  const master = await RedisServer.start(['--repl-diskless-sync-delay', '0'])
  const replica = await RedisServer.start(['--replicaof', `127.0.0.1 ${master.port}`])
  const admin = new Redis(replica.url)
  const before = new RedisNode(master.url)
  const early = new RedisNode(replica.url)
  try {
    const [old] = await retryWhileRefused(() => publish(before, CHANNEL, ['1']))
    while ((await admin.exists(early.keys.stream(CHANNEL))) === 0);
    for (const options of [WITH_HISTORY, undefined]) {
      const published = early.broker.publish(CHANNEL, publication('2'), options)
      expect((await refusal(published)).reason).toBe('unavailable')
    }
    await admin.replicaof('NO', 'ONE')
    const [fresh, next] = await retryWhileRefused(() => publish(early, CHANNEL, ['a', 'b']))
    expect(fresh?.epoch).not.toBe(old?.epoch)
    expect([fresh?.offset, next]).toEqual([2, { epoch: fresh?.epoch, offset: 3 }])
    expect(await publish(early, CHANNEL, ['c'])).toEqual([{ epoch: fresh?.epoch, offset: 4 }])
    expect(await stored(early, CHANNEL)).toEqual(['1 1', '2 a', '3 b', '4 c'])
  } finally {
    before.close()
    early.close()
    admin.disconnect()
    await replica.remove()
    await master.remove()
  }
})

/** Two servers of which the second replicates the first, and a proxy in front of both, as a virtual address is. */
describe('behind an address that keeps connections', () => {
  let first: RedisServer
  let second: RedisServer
  let admins: readonly [Redis, Redis]
  let node: RedisNode

  beforeEach(async () => {
    first = await RedisServer.start(['--repl-diskless-sync-delay', '0'])
    second = await RedisServer.start([
      '--replicaof',
      `127.0.0.1 ${first.port}`,
      '--repl-diskless-sync-delay',
      '0',
    ])
    admins = [new Redis(first.url), new Redis(second.url)]
    node = new RedisNode(first.url)
  })
  afterEach(async () => {
    node.close()
    for (const admin of admins) admin.disconnect()
    await second.remove()
    await first.remove()
  })

  it('no offset is given twice by a master that was demoted and promoted again', async () => {
    const [one, two] = admins
    const [old] = await retryWhileRefused(() => publish(node, CHANNEL, ['1']))
    while ((await two.exists(node.keys.stream(CHANNEL))) === 0);
    // The second one misses what the first one gives offsets to.
    await two.replicaof('NO', 'ONE')
    // A master changes its replication id when its first replica arrives, which the node may not have noticed yet.
    const lost = await retryWhileRefused(() => publish(node, CHANNEL, ['2', '3']))
    expect(lost.map((position) => position?.offset)).toEqual([2, 3])
    await one.replicaof('127.0.0.1', second.port)
    while (!(await one.info('replication')).includes('master_link_status:up'));
    await one.replicaof('NO', 'ONE')
    const [fresh] = await retryWhileRefused(() => publish(node, CHANNEL, ['4']))
    expect(fresh?.epoch).not.toBe(old?.epoch)
    expect(await stored(node, CHANNEL)).toEqual(['1 1', '2 4'])
  })

  it('a demoted master takes no publication, and its node says why within 3 s', async () => {
    const [one, two] = admins
    await retryWhileRefused(() => node.broker.publish(CHANNEL, publication('1')))
    await two.replicaof('NO', 'ONE')
    await one.replicaof('127.0.0.1', second.port)
    for (const options of [undefined, WITH_HISTORY]) {
      const published = node.broker.publish(CHANNEL, publication('2'), options)
      expect((await refusal(published)).reason).toBe('unavailable')
    }
    while (!node.reasons.includes('redis_replica')) await new Promise(setImmediate)
    await one.replicaof('NO', 'ONE')
    await retryWhileRefused(() => node.broker.publish(CHANNEL, publication('3')))
    while (node.reasons.length > 0) await new Promise(setImmediate)
  })
})

it('the keys of a channel are in one slot of a Redis Cluster, whatever its name', async () => {
  const redis = await RedisServer.start(['--cluster-enabled', 'yes', '--cluster-port', `${await freePort()}`])
  const admin = new Redis(redis.url)
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!String(await admin.cluster('INFO')).includes('cluster_state:ok'));
  const node = new RedisNode(redis.url)
  try {
    await node.broker.subscribe('warm-up')
    for (const name of ['room', '}room', '{}', '{room}', 'a{room}b', 'a}b{', '}', '{', '::']) {
      const once = { ...WITH_HISTORY, idempotencyKey: '}key{' }
      expect((await publish(node, name, ['1', '1'], once)).map((one) => one?.offset)).toEqual([1, 1])
      await publish(node, name, ['2'])
      expect(await stored(node, name)).toEqual(['1 1', '2 2'])
    }
  } finally {
    node.close()
    admin.disconnect()
    await redis.remove()
  }
})

clusterTest(
  'a stream begins a new epoch when Redis has lost its data in an outage',
  async ({ redis, node, other }) => {
    await publish(other, CHANNEL, ['1', '2'])
    const { position } = await node.broker.history(CHANNEL, ALL)
    await redis.stop()
    await refusal(other.broker.publish(CHANNEL, publication('lost'), WITH_HISTORY))
    await redis.startAgain()
    const [fresh] = await retryWhileRefused(() => publish(other, CHANNEL, ['again']))
    expect(fresh?.offset).toBe(1)
    expect(fresh?.epoch).not.toBe(position.epoch)
    expect(await retryWhileRefused(() => stored(node, CHANNEL))).toEqual(['1 again'])
  },
)

clusterTest('history is refused while Redis is down', async ({ redis, node }) => {
  await redis.stop()
  for (const request of [node.broker.history(CHANNEL, ALL), node.broker.removeHistory(CHANNEL)]) {
    expect((await refusal(request)).reason).toBe('unavailable')
  }
})

clusterTest('history is refused while Redis does not answer', async ({ redis, node, other }) => {
  redis.freeze()
  const requests = [refusal(node.broker.history(CHANNEL, ALL)), refusal(node.broker.removeHistory(CHANNEL))]
  const published = refusal(other.broker.publish(CHANNEL, publication('maybe'), WITH_HISTORY))
  for (const { reason } of await Promise.all(requests)) expect(reason).toBe('unavailable')
  expect((await published).reason).toBe('timeout')
  expect(other.queuedBytes).toBe(0)
  redis.resume()
  expect((await retryWhileRefused(() => publish(other, CHANNEL, ['after'])))[0]?.offset).toBeLessThanOrEqual(
    2,
  )
})
