import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HistoryQuery, PublishOptions } from '../../src/broker/broker.js'
import { CHANNEL } from './cluster-test.js'
import { publishTexts, storedTexts } from './history.js'
import { publication, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'
import { DOWN_AFTER_MS, SentinelTopology } from './redis-topologies.js'

const STREAM = { size: 100, ttlMs: 60_000, metaTtlMs: 120_000 }
const WITH_HISTORY: PublishOptions = { stream: STREAM, idempotencyKey: undefined }
const ALL: HistoryQuery = { limit: 100, sinceOffset: undefined, isReverse: false, metaTtlMs: 120_000 }
/** From the failure of a master to the first publication on another one, on a machine that has little else to do. */
const RESUMED_MS = DOWN_AFTER_MS + 3_000
/** A slow machine takes longer for all of it, Sentinels too. */
const SLOWEST = 5

describe('two nodes with Sentinels', { timeout: 60_000 }, () => {
  let redis: SentinelTopology
  let node: RedisNode
  let other: RedisNode

  beforeEach(async () => {
    redis = await SentinelTopology.start()
    node = new RedisNode(redis.url, 'node')
    other = new RedisNode(redis.url, 'other')
    await retryWhileRefused(() => node.broker.subscribe(CHANNEL))
    await retryWhileRefused(() => other.broker.publish(CHANNEL, publication('before')))
    await node.recorder.until(CHANNEL, 1)
  })
  afterEach(async () => {
    node.close()
    other.close()
    await redis.remove()
  })

  it('publish on the promoted replica soon after their master was killed, and keep what it has', async () => {
    const [before] = await publishTexts(other.broker, CHANNEL, ['1', '2'], WITH_HISTORY)
    await redis.admin.call('WAIT', '2', '0')
    const startMs = performance.now()
    await redis.master.stop()
    const [after] = await retryWhileRefused(() => publishTexts(other.broker, CHANNEL, ['3'], WITH_HISTORY))
    expect(performance.now() - startMs).toBeLessThan(SLOWEST * RESUMED_MS)
    expect(after?.epoch).not.toBe(before?.epoch)
    expect(after?.offset).toBe(3)
    expect(await retryWhileRefused(() => storedTexts(node.broker, CHANNEL, ALL))).toEqual([
      '1 1',
      '2 2',
      '3 3',
    ])
    // The subscriber may be connected a moment later than the publisher.
    while (!node.recorder.textsOf(CHANNEL).includes('again')) {
      await retryWhileRefused(() => other.broker.publish(CHANNEL, publication('again')))
    }
    expect(node.reasons).toEqual([])
  })
})
