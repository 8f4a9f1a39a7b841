import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { encodeMessage } from '../../src/redis/relay-message.js'
import { relayEntry } from '../support/relay-entry.js'
import { commandCalls } from './command-calls.js'
import { clientInfo, publication } from './publications.js'
import { RedisNode } from './redis-node.js'

let redis: RedisServer
let admin: Redis
let node: RedisNode
let other: RedisNode
let channels = 0
let channel: string

beforeAll(async () => {
  redis = await RedisServer.start()
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

async function subscribersOf(name: string): Promise<number> {
  const [, count] = (await admin.pubsub('NUMSUB', node.keys.channelEvents(name))) as [string, number]
  return count
}

describe('a malformed message in Redis is counted and ignored', () => {
  const good = relayEntry({ kind: 'publication', payload: 'good' })
  const control = (payload: string) => encodeMessage([relayEntry({ kind: 'control', payload })])
  const join = (payload: string, client: string | undefined = 'ann') =>
    encodeMessage([relayEntry({ kind: 'join', client, payload })])

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('hello')],
    ['JSON', Buffer.from('{"channel":"room","data":1}')],
    ['another version', Buffer.concat([Buffer.of(2), good])],
    ['a version and nothing else', Buffer.of(1)],
    ['an opening and nothing else', Buffer.of(1, 0)],
    ['a message that is cut short', encodeMessage([good]).subarray(0, -1)],
    ['a good entry before a bad one', Buffer.concat([encodeMessage([good]), Buffer.from('bad')])],
    ['a length beyond all memory', Buffer.from([1, 0, 255, 255, 255, 255, 1, 0])],
    ['a megabyte of zeros', Buffer.alloc(1024 ** 2)],
    ['a control entry in a channel', control('')],
    [
      'a good entry before a control entry',
      encodeMessage([good, relayEntry({ kind: 'control', payload: '' })]),
    ],
    [
      'a join without a client',
      encodeMessage([relayEntry({ kind: 'join', payload: '{"user":"a","online":1}' })]),
    ],
    ['a join that is not JSON', join('{')],
    ['a join that is null', join('null')],
    ['a join without a user', join('{"online":1}')],
    ['a join whose number is not a number', join('{"user":"ann","online":"1"}')],
  ])('%s', async (_, bytes) => {
    await node.broker.subscribe(channel)
    const before = await node.malformedCount()
    await admin.publish(node.keys.channelEvents(channel), bytes)
    await other.broker.publish(channel, publication('next'))
    await node.recorder.until(channel, 1)
    expect(node.recorder.textsOf(channel)).toEqual(['next'])
    expect((await node.malformedCount()) - before).toBe(1)
  })

  it('in the channels for all nodes and for one node', async () => {
    const received: unknown[] = []
    const before = await node.malformedCount()
    let receive = () => {}
    const probed = new Promise<void>((resolve) => {
      receive = resolve
    })
    await node.peers.start((message) => {
      received.push(message)
      receive()
    })
    const bad = [
      Buffer.from('hello'),
      control('{'),
      control('null'),
      control('{"type":17}'),
      control('{"type":"probe"}'),
      control('{"type":"probe","sentAtMs":"soon"}'),
      control('{"type":"question","id":"1","from":"x","ask":{}}'),
      control('{"type":"question","id":"1","ask":{"about":"info"}}'),
    ]
    for (const bytes of bad) {
      await admin.publish(node.keys.allNodesMessages(), bytes)
      await admin.publish(node.keys.nodeMessages('node'), bytes)
    }
    await node.peers.sendTo('node', { type: 'probe', sentAtMs: 1 })
    await probed
    expect(received).toEqual([{ type: 'probe', sentAtMs: 1 }])
    expect((await node.malformedCount()) - before).toBe(2 * bad.length)
  })
})

it('joins and leaves without watchers are not delivered, and delay no publication', async () => {
  await other.broker.subscribe(channel)
  other.recorder.isPresenceWatched = false
  const info = clientInfo('c-1', 'ann')
  for (const event of [publication('a'), { type: 'join', info, online: 1 } as const, publication('b')]) {
    await node.broker.publish(channel, event)
  }
  await other.recorder.until(channel, 2)
  expect(other.recorder.textsOf(channel)).toEqual(['a', 'b'])
  other.recorder.isPresenceWatched = true
})

describe('packing', () => {
  it('sends a burst in one tick as one PUBLISH', async () => {
    await node.broker.subscribe(channel)
    const [callsBefore, sentBefore] = [await commandCalls(admin, 'publish'), other.sent]
    const burst = Array.from({ length: 500 }, (_, index) => publication(`${index}`))
    await Promise.all(burst.map((one) => other.broker.publish(channel, one)))
    expect(await node.recorder.until(channel, 500)).toEqual(burst)
    expect((await commandCalls(admin, 'publish')) - callsBefore).toBe(1)
    const { messages, entries } = other.sent
    expect([messages - sentBefore.messages, entries - sentBefore.entries]).toEqual([1, 500])
  })

  it('sends the publications that arrive while a batch is under way together', async () => {
    const before = await commandCalls(admin, 'publish')
    const published = [other.broker.publish(channel, publication('first'))]
    await new Promise(setImmediate)
    // The first is on its way to Redis; what follows waits for its answer.
    for (let index = 0; index < 200; index++)
      published.push(other.broker.publish(channel, publication('more')))
    await Promise.all(published)
    expect((await commandCalls(admin, 'publish')) - before).toBe(2)
  })

  it('sends one PUBLISH for each channel', async () => {
    const before = await commandCalls(admin, 'publish')
    const names = Array.from({ length: 10 }, (_, index) => `${channel} ${index}`)
    const burst = [...names, ...names, ...names]
    await Promise.all(burst.map((name) => other.broker.publish(name, publication('hello'))))
    expect((await commandCalls(admin, 'publish')) - before).toBe(10)
  })

  it('sends a single publication at once', async () => {
    const before = await commandCalls(admin, 'publish')
    for (let index = 0; index < 10; index++) await other.broker.publish(channel, publication('hello'))
    expect((await commandCalls(admin, 'publish')) - before).toBe(10)
  })

  it('is measured without the messages between nodes', async () => {
    const before = other.sent
    await other.peers.sendTo('node', { type: 'probe', sentAtMs: 1 })
    await other.broker.publish(channel, publication('hello'))
    const { messages, entries } = other.sent
    expect([messages - before.messages, entries - before.entries]).toEqual([1, 1])
  })

  it('limits relay messages to 256 KiB, except for a larger publication', async () => {
    await node.broker.subscribe(channel)
    const before = await commandCalls(admin, 'publish')
    const burst = [100_000, 100_000, 100_000, 1_000_000, 10].map((size) => publication(Buffer.alloc(size)))
    await Promise.all(burst.map((one) => other.broker.publish(channel, one)))
    await node.recorder.until(channel, 5)
    expect((await commandCalls(admin, 'publish')) - before).toBe(4)
  })
})

describe('a subscription of the node', () => {
  it('is known to Redis from the first subscribe to the unsubscribe', async () => {
    expect(await subscribersOf(channel)).toBe(0)
    await node.broker.subscribe(channel)
    await other.broker.subscribe(channel)
    expect(await subscribersOf(channel)).toBe(2)
    node.broker.unsubscribe(channel)
    // Commands of one connection are answered in order.
    await node.broker.subscribe(`${channel} after`)
    expect(await subscribersOf(channel)).toBe(1)
  })

  it('is not a pattern, which would make every PUBLISH slower', async () => {
    expect(await admin.pubsub('NUMPAT')).toBe(0)
  })

  it('is sent to Redis in one command with others of the same tick', async () => {
    const before = await commandCalls(admin, 'subscribe')
    await Promise.all(Array.from({ length: 300 }, (_, index) => node.broker.subscribe(`${channel} ${index}`)))
    expect((await commandCalls(admin, 'subscribe')) - before).toBe(1)
  })

  it('survives a cut of the subscriber connections, for thousands of channels', async () => {
    const names = Array.from({ length: 2_500 }, (_, index) => `${channel} ${index}`)
    await Promise.all([...names.map((name) => node.broker.subscribe(name)), other.broker.subscribe(channel)])
    const before = await node.reconnections()
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await node.broker.subscribe(channel)
    expect(await node.reconnections()).toBeGreaterThan(before)
    for (const name of names) await other.broker.publish(name, publication('hello'))
    for (const name of names) await node.recorder.until(name, 1)
    expect(await subscribersOf(names[0] ?? '')).toBe(1)
  })
})
