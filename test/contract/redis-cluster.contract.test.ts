import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import type { HistoryQuery, PublishOptions } from '../../src/broker/broker.js'
import { slotOf } from '../../src/redis/key-slot.js'
import { publishTexts, storedTexts } from './history.js'
import { clientInfo, publication, refusal, retryWhileRefused } from './publications.js'
import { ClusterTopology, NODE_TIMEOUT_MS } from './redis-topologies.js'
import { TopologyNode } from './topology-node.js'

const STREAM = { size: 100, ttlMs: 60_000, metaTtlMs: 120_000 }
const WITH_HISTORY: PublishOptions = { stream: STREAM, idempotencyKey: undefined }
const ALL: HistoryQuery = { limit: 100, sinceOffset: undefined, isReverse: false, metaTtlMs: 120_000 }
const SLOTS_PER_MASTER = Math.ceil(16_384 / 3)
/** From the move of a slot to the first publication that is heard after it, on a machine that has little else to do. */
const MOVED_MS = 2_000
const FAILED_OVER_MS = NODE_TIMEOUT_MS + 3_000
/** A slow machine takes longer for all of it, the servers too. */
const SLOWEST = 5

/** The index of the master that has a channel at first. */
const masterOf = (node: TopologyNode, channel: string) =>
  Math.floor(slotOf(node.keys.stream(channel)) / SLOTS_PER_MASTER)

describe('two nodes with a Redis Cluster', { timeout: 60_000 }, () => {
  let redis: ClusterTopology
  let node: TopologyNode
  let other: TopologyNode
  /** A channel on each master. */
  let channels: readonly string[]

  let resumedAtStart = 0
  /** Channels that were subscribed again since the start. */
  const resumedSince = () => node.recorder.resumedChannels.items.slice(resumedAtStart)

  async function start(replicas: number): Promise<void> {
    redis = await ClusterTopology.start(replicas)
    node = new TopologyNode(redis.url, 'node')
    other = new TopologyNode(redis.url, 'other')
    channels = [0, 1, 2].map((master) => {
      const names = Array.from({ length: 50 }, (_, index) => `room ${index}`)
      return names.find((name) => masterOf(node, name) === master) ?? ''
    })
    for (const channel of channels) {
      await retryWhileRefused(async () => node.broker.subscribe(channel))
      await retryWhileRefused(() => other.broker.publish(channel, publication('before')))
      await node.recorder.until(channel, 1)
    }
    resumedAtStart = node.recorder.resumedChannels.items.length
  }
  afterEach(async () => {
    node.close()
    other.close()
    await redis.remove()
  })

  /** Publishes until the node hears it, and resolves with the milliseconds that this took. */
  async function heardAgainMs(channel: string): Promise<number> {
    const startMs = performance.now()
    while (!node.recorder.textsOf(channel).includes('again')) {
      await retryWhileRefused(() => other.broker.publish(channel, publication('again')))
    }
    return performance.now() - startMs
  }

  it('hear each other in the channels of a slot that moves, which keep what they have', async () => {
    await start(0)
    const [first = '', second = ''] = channels
    await publishTexts(other.broker, first, ['1', '2'], WITH_HISTORY)
    await redis.moveSlot(slotOf(node.keys.stream(first)), 0, 1)
    expect(await heardAgainMs(first)).toBeLessThan(SLOWEST * MOVED_MS)
    const [after] = await retryWhileRefused(() => publishTexts(other.broker, first, ['3'], WITH_HISTORY))
    expect(after?.offset).toBe(3)
    const stored = await retryWhileRefused(() => storedTexts(node.broker, first, ALL))
    expect(stored).toEqual(['1 1', '2 2', '3 3'])
    expect(resumedSince()).toContain(first)
    expect(resumedSince()).not.toContain(second)
  })

  it('take publications of all slots while one of the same master is on its way to another', async () => {
    await start(0)
    const [first = ''] = channels
    const [source, target] = redis.admins
    const slot = slotOf(node.keys.stream(first))
    const sameMaster = Array.from({ length: 200 }, (_, index) => `other ${index}`).find(
      (name) => masterOf(node, name) === 0 && slotOf(node.keys.stream(name)) !== slot,
    )
    await source.cluster('SETSLOT', slot, 'MIGRATING', String(await target?.cluster('MYID')))
    const both = [first, sameMaster ?? ''].map((name) => other.broker.publish(name, publication('meanwhile')))
    expect(await Promise.all(both)).toEqual([undefined, undefined])
    await node.recorder.until(first, 2)
    expect(other.reasons).toEqual({})
  })

  it('find the cluster by another of their addresses where the first is of a server without slots', async () => {
    await start(0)
    const lonely = await RedisServer.start([
      '--cluster-enabled',
      'yes',
      '--cluster-port',
      `${await freePort()}`,
    ])
    const lost = new TopologyNode(`redis+cluster://127.0.0.1:${lonely.port}?addr=${new URL(redis.url).host}`)
    try {
      const [first = ''] = channels
      await retryWhileRefused(() => lost.broker.publish(first, publication('found')))
      await node.recorder.until(first, 2)
    } finally {
      lost.close()
      await lonely.remove()
    }
  })

  it('restore presence on the masters that are up', async () => {
    await start(0)
    const [first = '', second = ''] = channels
    const [{ upkeep } = {}] = node.shared
    const restore = () => upkeep?.restoreOwnClients(true, () => Promise.resolve())
    for (const channel of [first, second])
      await retryWhileRefused(() => node.presence.add(channel, clientInfo('c-1', 'ann')))
    await retryWhileRefused(async () => restore())
    await redis.masters[0]?.stop()
    while (Object.keys(node.reasons).length === 0) await new Promise(setImmediate)
    for (const admin of redis.admins.slice(1, 3))
      await admin.del(node.keys.presenceClients(second)).catch(() => 0)
    await refusal(Promise.resolve(restore()))
    expect(await node.presence.stats(second)).toMatchObject({ clients: 1 })
  })

  it('lose and double no publication while the slots of a master move under traffic, and keep their order', async () => {
    await start(0)
    const [first = ''] = channels
    let isMoving = true
    const published: string[] = []
    const publishing = (async () => {
      for (let number = 0; isMoving; number++) {
        // A refused publication may have been published or not, and is not tried again.
        const taken = await other.broker.publish(first, publication(`${number}`), WITH_HISTORY).then(
          () => true,
          () => false,
        )
        if (taken) published.push(`${number}`)
      }
    })()
    const slot = slotOf(node.keys.stream(first))
    for (const [from, to] of [
      [0, 1],
      [1, 2],
      [2, 0],
    ] as const)
      await redis.moveSlot(slot, from, to)
    isMoving = false
    await publishing
    await heardAgainMs(first)
    const heard = node.recorder.textsOf(first).filter((text) => /^\d+$/.test(text))
    expect(published.length).toBeGreaterThan(0)
    expect(heard).toEqual([...new Set(heard)].sort((a, b) => Number(a) - Number(b)))
    const stored = await retryWhileRefused(() => storedTexts(node.broker, first, { ...ALL, limit: 10_000 }))
    const kept = new Set(stored.map((text) => text.split(' ')[1] ?? ''))
    expect(published.slice(-50).filter((text) => !kept.has(text))).toEqual([])
  })

  it('hear each other again soon after a master was killed, and in the other channels all the time', async () => {
    await start(3)
    const [first = '', second = ''] = channels
    await redis.masters[0]?.stop()
    await other.broker.publish(second, publication('meanwhile'))
    await node.recorder.until(second, 2)
    expect(await heardAgainMs(first)).toBeLessThan(SLOWEST * FAILED_OVER_MS)
    expect(resumedSince()).not.toContain(second)
    const dead = `127.0.0.1:${redis.masters[0]?.port}`
    const shards = async () => (await node.metrics.redisUp.get()).values.map(({ labels }) => labels['shard'])
    while ((await shards()).includes(dead)) await new Promise(setImmediate)
  })

  it('say which server is down while a master without a replica is out, and heal with it', async () => {
    await start(0)
    const [first = ''] = channels
    const [master] = redis.masters
    await master?.stop()
    const name = `127.0.0.1:${master?.port}`
    while (!(name in node.reasons)) await new Promise(setImmediate)
    expect(node.reasons[name]).toContain('redis_unreachable')
    expect(await refusal(other.broker.publish(first, publication('lost')))).toEqual({ reason: 'unavailable' })
    await master?.startAgain()
    await heardAgainMs(first)
    while (Object.keys(node.reasons).length > 0) await new Promise(setImmediate)
  })
})
