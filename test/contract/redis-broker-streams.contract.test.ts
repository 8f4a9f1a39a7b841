import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { HistoryQuery, PublishOptions } from '../../src/broker/broker.js'
import type { Logger } from '../../src/log.js'
import { freePort } from '../support/free-port.js'
import { RedisServer } from '../support/redis-server.js'
import { relayEntry } from '../support/relay-entry.js'
import { CHANNEL, clusterTest } from './cluster-test.js'
import { eventually, publication, refusal } from './publications.js'
import { RedisNode } from './redis-node.js'

/** What callers are promised. */
const STREAM = { size: 100, ttlMs: 60_000, metaTtlMs: 120_000 }
const KEPT: PublishOptions = { stream: STREAM, idempotencyKey: undefined }
const ALL: HistoryQuery = { limit: 100, sinceOffset: undefined, isReverse: false, metaTtlMs: 240_000 }

/** Publishes with history, in one tick. */
function keep(node: RedisNode, channel: string, texts: readonly string[], options = KEPT) {
  return Promise.all(texts.map((text) => node.broker.publish(channel, publication(text), options)))
}

/** What is kept, as offset and text. */
async function kept(node: RedisNode, channel: string): Promise<string[]> {
  const { publications } = await node.broker.history(channel, ALL)
  return publications.map(({ position, data }) => `${position?.offset} ${Buffer.from(data).toString()}`)
}

describe('streams in Redis', () => {
  let redis: RedisServer
  let admin: Redis
  let node: RedisNode
  let other: RedisNode
  let channels = 0
  let channel: string

  beforeAll(async () => {
    // For changing the replication id, which otherwise takes a failover.
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

  async function calls(command: string): Promise<number> {
    const stats = await admin.info('commandstats')
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
  }

  /** Cuts one node's connection for commands, and waits for the next. */
  async function reconnect(one: RedisNode): Promise<void> {
    const before = await one.reconnections()
    const list = String(await admin.client('LIST', 'TYPE', 'NORMAL'))
    const ids = [...list.matchAll(/^id=(\d+) .*name=fanfare:publisher /gm)].map(([, id]) => id ?? '')
    // The node that connected first comes first.
    await admin.call('CLIENT', 'KILL', 'ID', ids[one === node ? 0 : 1] ?? '')
    while ((await one.reconnections()) === before) await new Promise(setImmediate)
    await eventually(() => one.broker.publish('warm-up', publication('back')))
  }

  it('a burst leaves as one script call and one PUBLISH', async () => {
    await keep(other, channel, ['warm-up'])
    const [evalshaBefore, publishBefore] = [await calls('evalsha'), await calls('publish')]
    await keep(
      other,
      channel,
      Array.from({ length: 200 }, (_, index) => `${index}`),
    )
    expect((await calls('evalsha')) - evalshaBefore).toBe(1)
    expect((await calls('publish')) - publishBefore).toBe(1)
  })

  it('live as long as asked for: publications from the last publish, the epoch from the last use', async () => {
    await keep(other, channel, ['1'], { stream: STREAM, idempotencyKey: 'a' })
    const ttlMs = async (key: string) => Math.ceil((await admin.pttl(key)) / 1_000) * 1_000
    expect(await ttlMs(node.keys.stream(channel))).toBe(STREAM.ttlMs)
    expect(await ttlMs(node.keys.streamMeta(channel))).toBe(STREAM.metaTtlMs)
    expect(await ttlMs(node.keys.idempotency(channel, 'a'))).toBe(5 * 60_000)
    await node.broker.history(channel, ALL)
    expect(await ttlMs(node.keys.streamMeta(channel))).toBe(ALL.metaTtlMs)
    expect(await ttlMs(node.keys.stream(channel))).toBe(STREAM.ttlMs)
  })

  it('are remembered for an hour at most while nothing was published', async () => {
    const meta = node.keys.streamMeta(channel)
    const query = { ...ALL, metaTtlMs: 7_200_000 }
    await node.broker.history(channel, query)
    const ttlMs = await admin.pttl(meta)
    expect(ttlMs).toBeGreaterThan(0)
    expect(ttlMs).toBeLessThanOrEqual(3_600_000)
    await keep(node, channel, ['1'])
    await node.broker.history(channel, query)
    expect(await admin.pttl(meta)).toBeGreaterThan(3_600_000)
  })

  it('entries that no node has kept are counted and left out', async () => {
    await keep(other, channel, ['1'])
    const join = relayEntry({ kind: 'join', client: 'ann', payload: '{}' })
    const stream = node.keys.stream(channel)
    await admin.xadd(stream, '2-0', 'e', 'hello')
    await admin.xadd(stream, '3-0', 'e', '')
    await admin.xadd(stream, '4-0', 'e', join)
    await admin.xadd(stream, '5-0', 'e', Buffer.concat([join, Buffer.of(0)]))
    const before = await node.malformedCount()
    expect(await kept(node, channel)).toEqual(['1 1'])
    expect((await node.malformedCount()) - before).toBe(4)
  })

  it('a key that holds something else refuses its channel, and no other', async () => {
    await admin.set(node.keys.stream(channel), 'hello')
    await admin.hset(node.keys.streamMeta(channel), { epoch: 'e', offset: 'many', master: '' })
    // Metadata that is none begins a new stream.
    expect((await keep(other, channel, ['1']))[0]?.offset).toBe(1)
    await admin.set(node.keys.streamMeta(channel), 'hello')
    const refused = refusal(other.broker.publish(channel, publication('2'), KEPT))
    await keep(other, `${channel} neighbour`, ['1'])
    expect((await refused).reason).toBe('unavailable')
    expect((await refusal(node.broker.history(channel, ALL))).reason).toBe('unavailable')
  })

  it('go on when Redis has forgotten its scripts, each channel in order', async () => {
    await node.broker.subscribe(channel)
    await keep(other, channel, ['1'])
    await admin.script('FLUSH')
    const neighbours = Array.from({ length: 20 }, (_, index) => `${channel} ${index}`)
    const [mixed, alone] = await Promise.all([
      Promise.all(
        ['2', 'plain', '3', '4'].map((text) =>
          other.broker.publish(channel, publication(text), text === 'plain' ? undefined : KEPT),
        ),
      ),
      Promise.all(neighbours.map((name) => other.broker.publish(name, publication('1'), KEPT))),
    ])
    expect(mixed.map((one) => one?.offset)).toEqual([2, undefined, 3, 4])
    expect(alone.map((one) => one?.offset)).toEqual(neighbours.map(() => 1))
    await node.recorder.until(channel, 5)
    expect(node.recorder.textsOf(channel)).toEqual(['1', '2', 'plain', '3', '4'])
    await admin.script('FLUSH')
    expect((await other.broker.publish(channel, publication('5'), KEPT))?.offset).toBe(5)
    await admin.script('FLUSH')
    expect(await kept(node, channel)).toEqual(['1 1', '2 2', '3 3', '4 4', '5 5'])
    await admin.script('FLUSH')
    const once = { ...KEPT, idempotencyKey: 'a' }
    expect((await keep(other, channel, ['6', '6'], once)).map((one) => one?.offset)).toEqual([6, 6])
  })

  it('begin new epochs after a failover, without what was kept', async () => {
    const [old] = await keep(other, channel, ['1'])
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    await reconnect(other)
    const fresh = await other.broker.history(channel, ALL)
    expect(fresh.publications).toEqual([])
    expect(fresh.position.offset).toBe(0)
    expect(fresh.position.epoch).not.toBe(old?.epoch)
    expect(await keep(other, channel, ['again'])).toEqual([{ epoch: fresh.position.epoch, offset: 1 }])
  })

  it('begin one new epoch, not one in turn with nodes that connected before', async () => {
    await keep(other, channel, ['1'])
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    await reconnect(other)
    const [first] = await keep(other, channel, ['a'])
    const [second] = await keep(node, channel, ['b'])
    const [third] = await keep(other, channel, ['c'])
    expect([second, third]).toEqual([
      { epoch: first?.epoch, offset: 2 },
      { epoch: first?.epoch, offset: 3 },
    ])
  })

  it('work for a Redis user that may not ask for the replication id, who is warned once', async () => {
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>pw', '~test:*', '&test:*', '+@all', '-info')
    const warnings: unknown[] = []
    const silent = () => undefined
    const log: Logger = {
      debug: silent,
      info: silent,
      warn: (_: unknown, sentence?: unknown) => void warnings.push(sentence),
      error: silent,
    }
    const limited = new RedisNode(redis.url.replace('//', '//app:pw@'), 'limited', undefined, log)
    try {
      await limited.broker.subscribe(channel)
      const [first] = await keep(limited, channel, ['1'])
      const [second] = await keep(limited, channel, ['2'], { ...KEPT, idempotencyKey: 'a' })
      expect(second).toEqual({ epoch: first?.epoch, offset: 2 })
      await limited.recorder.until(channel, 2)
      expect(await kept(limited, channel)).toEqual(['1 1', '2 2'])
      await admin.call('CLIENT', 'KILL', 'USER', 'app')
      expect((await eventually(() => keep(limited, channel, ['3'])))[0]?.epoch).toBe(first?.epoch)
      expect(warnings.filter((sentence) => String(sentence).includes('replication id'))).toHaveLength(1)
    } finally {
      limited.close()
    }
  })
})

it('streams begin new epochs when a replica is promoted, for nodes that were connected to it too', async () => {
  const master = await RedisServer.start(['--repl-diskless-sync-delay', '0'])
  const replica = await RedisServer.start(['--replicaof', `127.0.0.1 ${master.port}`])
  const admin = new Redis(replica.url)
  const before = new RedisNode(master.url)
  const early = new RedisNode(replica.url)
  try {
    await early.broker.subscribe(CHANNEL)
    const [old] = await eventually(() => keep(before, CHANNEL, ['1']))
    while ((await admin.exists(early.keys.stream(CHANNEL))) === 0);
    expect((await refusal(early.broker.publish(CHANNEL, publication('2'), KEPT))).reason).toBe('unavailable')
    await admin.replicaof('NO', 'ONE')
    const [fresh, next] = await keep(early, CHANNEL, ['a', 'b'])
    expect(fresh?.epoch).not.toBe(old?.epoch)
    expect([fresh?.offset, next]).toEqual([1, { epoch: fresh?.epoch, offset: 2 }])
    expect(await keep(early, CHANNEL, ['c'])).toEqual([{ epoch: fresh?.epoch, offset: 3 }])
    expect(await kept(early, CHANNEL)).toEqual(['1 a', '2 b', '3 c'])
  } finally {
    before.close()
    early.close()
    admin.disconnect()
    await replica.remove()
    await master.remove()
  }
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
      const once = { ...KEPT, idempotencyKey: '}key{' }
      expect((await keep(node, name, ['1', '1'], once)).map((one) => one?.offset)).toEqual([1, 1])
      await keep(node, name, ['2'])
      expect(await kept(node, name)).toEqual(['1 1', '2 2'])
    }
  } finally {
    node.close()
    admin.disconnect()
    await redis.remove()
  }
})

clusterTest('streams begin new epochs when Redis is back and empty', async ({ redis, node, other }) => {
  await keep(other, CHANNEL, ['1', '2'])
  const { position } = await node.broker.history(CHANNEL, ALL)
  await redis.stop()
  await refusal(other.broker.publish(CHANNEL, publication('lost'), KEPT))
  await redis.startAgain()
  const [fresh] = await eventually(() => keep(other, CHANNEL, ['again']))
  expect(fresh?.offset).toBe(1)
  expect(fresh?.epoch).not.toBe(position.epoch)
  expect(await eventually(() => kept(node, CHANNEL))).toEqual(['1 again'])
})

clusterTest('history is refused while Redis is down', async ({ redis, node }) => {
  await redis.stop()
  for (const asked of [node.broker.history(CHANNEL, ALL), node.broker.removeHistory(CHANNEL)]) {
    expect((await refusal(asked)).reason).toBe('unavailable')
  }
})

clusterTest('history is refused while Redis does not answer', async ({ redis, node, other }) => {
  redis.freeze()
  const asked = [refusal(node.broker.history(CHANNEL, ALL)), refusal(node.broker.removeHistory(CHANNEL))]
  const published = refusal(other.broker.publish(CHANNEL, publication('maybe'), KEPT))
  for (const { reason } of await Promise.all(asked)) expect(reason).toBe('unavailable')
  expect((await published).reason).toBe('timeout')
  expect(other.queuedBytes).toBe(0)
  redis.resume()
  expect((await eventually(() => keep(other, CHANNEL, ['after'])))[0]?.offset).toBeLessThanOrEqual(2)
})
