import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import type { PresenceChange } from '../../src/presence/presence-store.js'
import { createPlacement } from '../../src/redis/placement.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { clientInfo, publication, refusal, retryWhileRefused } from './publications.js'
import { TopologyNode } from './topology-node.js'

describe('nodes whose lists of Redis differ', { timeout: 60_000 }, () => {
  it.each([
    ['in their order', (one: string, two: string) => `${two},${one}`],
    ['in their length', (one: string) => one],
  ])('%s say so, until the other nodes have left', async (_, otherList) => {
    const [one, two] = await Promise.all([RedisServer.start(), RedisServer.start()])
    const node = new TopologyNode(`${one.url},${two.url}`, 'node')
    const other = new TopologyNode(otherList(one.url, two.url), 'other')
    try {
      for (const each of [node, other]) await retryWhileRefused(() => each.announce())
      await node.peers.aliveNodes()
      await other.peers.aliveNodes()
      for (const each of [node, other])
        expect(Object.values(each.reasons).flat()).toEqual(['redis_lists_differ'])
      for (const { nodes } of other.shared) await nodes.leave()
      await node.peers.aliveNodes()
      expect(node.reasons).toEqual({})
    } finally {
      node.close()
      other.close()
      await Promise.all([one.remove(), two.remove()])
    }
  })
})

describe('two nodes with two independent Redis, of which one is killed', { timeout: 60_000 }, () => {
  let servers: readonly [RedisServer, RedisServer]
  let node: TopologyNode
  let other: TopologyNode
  /** A channel on the Redis that stays, and one on the other. */
  let staying: string
  let lost: string
  let resumedAtStart: number
  /** Channels that were subscribed again since the start. */
  const resumedSince = () => node.recorder.resumedChannels.items.slice(resumedAtStart)

  beforeEach(async () => {
    servers = await Promise.all([RedisServer.start(), RedisServer.start()])
    const url = servers.map((server) => server.url).join(',')
    node = new TopologyNode(url, 'node')
    other = new TopologyNode(url, 'other')
    const placement = createPlacement(2)
    const names = Array.from({ length: 20 }, (_, index) => `room ${index}`)
    staying = names.find((name) => placement(name) === 0) ?? ''
    lost = names.find((name) => placement(name) === 1) ?? ''
    for (const channel of [staying, lost]) {
      await retryWhileRefused(async () => node.broker.subscribe(channel))
      await retryWhileRefused(() => other.broker.publish(channel, publication('before')))
      await node.recorder.until(channel, 1)
    }
    await retryWhileRefused(() => node.announce())
    resumedAtStart = node.recorder.resumedChannels.items.length
  })
  afterEach(async () => {
    node.close()
    other.close()
    for (const server of servers) await server.remove()
  })

  it('notice nothing in the channels of the other one, and say which one is out', async () => {
    await node.presence.add(staying, clientInfo('c-1', 'ann'))
    await servers[1].stop()
    for (let count = 2; count < 50; count++) {
      await other.broker.publish(staying, publication('after'))
      await node.recorder.until(staying, count)
    }
    expect(await node.presence.stats(staying)).toEqual({ clients: 1, users: 1 })
    expect(await refusal(other.broker.publish(lost, publication('lost')))).toEqual({ reason: 'unavailable' })
    while (!('1' in node.reasons)) await new Promise(setImmediate)
    expect(node.reasons).toEqual({ 1: ['redis_unreachable'] })
    expect(resumedSince()).not.toContain(staying)
  })

  it('go on in its channels when it is back, with the presence that it has lost', async () => {
    await node.presence.add(lost, clientInfo('c-1', 'ann'))
    await servers[1].stop()
    await servers[1].startAgain()
    while (!node.recorder.textsOf(lost).includes('again')) {
      await retryWhileRefused(() => other.broker.publish(lost, publication('again')))
    }
    expect(resumedSince()).toContain(lost)
    const report = (_: PresenceChange) => Promise.resolve()
    const restore = () =>
      Promise.all(node.shared.map(({ upkeep }) => upkeep.restoreOwnClients(false, report)))
    await retryWhileRefused(restore)
    expect(await retryWhileRefused(() => node.presence.stats(lost))).toEqual({ clients: 1, users: 1 })
    while (Object.keys(node.reasons).length > 0) await new Promise(setImmediate)
  })
})

describe('a node whose connections to one of two independent Redis are half-open', {
  timeout: 60_000,
}, () => {
  it('makes them anew, and hears again what is published there', async () => {
    const servers = await Promise.all([RedisServer.start(), RedisServer.start()])
    const proxy = await TcpProxy.start(servers[1].port)
    const node = new TopologyNode(`${servers[0].url},redis://127.0.0.1:${proxy.port}`, 'node')
    const other = new TopologyNode(servers.map(({ url }) => url).join(','), 'other')
    try {
      const placement = createPlacement(2)
      const names = Array.from({ length: 20 }, (_, index) => `room ${index}`)
      const channel = names.find((name) => placement(name) === 1) ?? ''
      await retryWhileRefused(async () => node.broker.subscribe(channel))
      await retryWhileRefused(() => other.broker.publish(channel, publication('before')))
      await node.recorder.until(channel, 1)
      proxy.deaden({ andNew: false })
      while (!node.recorder.textsOf(channel).includes('again')) {
        await other.broker.publish(channel, publication('again'))
      }
      expect(node.recorder.resumedChannels.items.filter((name) => name === channel)).not.toEqual([])
    } finally {
      node.close()
      other.close()
      proxy.remove()
      await Promise.all(servers.map((server) => server.remove()))
    }
  })
})
