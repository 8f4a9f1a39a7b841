import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { Cluster } from '../support/cluster.js'
import { eventually, metric } from '../support/metric.js'

describe('three nodes with Redis', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await Cluster.start()
  })
  afterAll(() => cluster.stop())

  it('deliver 1,000 messages to 300 clients of the other nodes, once each and in order', async () => {
    const path = '/ws/feed'
    const publisher = await cluster.open(0, path)
    const onSameNode = await cluster.open(0, path)
    const subscribers = await Promise.all(
      Array.from({ length: 300 }, (_, index) => cluster.open(index % 2 === 0 ? 1 : 2, path)),
    )
    const messages = Array.from({ length: 1_000 }, (_, index) => `message ${index}`)
    for (const text of messages) publisher.send(text)
    for (const subscriber of [...subscribers, onSameNode]) {
      expect(await subscriber.nextTexts(messages.length)).toEqual(messages)
    }
    // A repeated message, or one that is sent back to its publisher, would arrive before this one.
    subscribers[0]?.send('that was all')
    expect(await publisher.nextText()).toBe('that was all')
    for (const subscriber of [...subscribers.slice(1), onSameNode]) {
      expect(await subscriber.nextText()).toBe('that was all')
    }
    for (const client of [...subscribers, publisher, onSameNode]) client.close()
  })

  it('keep every client that is the first of its channel', async () => {
    let lost = 0
    for (let batch = 0; batch < 10; batch++) {
      const clients = await Promise.all(
        Array.from({ length: 300 }, (_, index) =>
          cluster.open((index % 3) as 0 | 1 | 2, `/ws/${batch}-${index}?events=join`),
        ),
      )
      for (const client of clients) {
        void client.closed.then(({ code }) => {
          if (code === 1006) lost++
        })
      }
      await Promise.all(clients.map((client) => client.nextText()))
      for (const client of clients) client.close(1000)
      await Promise.all(clients.map((client) => client.closed))
    }
    expect(lost).toBe(0)
  })

  it('deliver concurrent publications of different nodes in one order on every node', async () => {
    const publishers = await Promise.all(
      [0, 1, 2].map((node) => cluster.open(node as 0 | 1 | 2, '/ws/order')),
    )
    const watchers = await Promise.all([0, 1, 2].map((node) => cluster.open(node as 0 | 1 | 2, '/ws/order')))
    for (let index = 0; index < 200; index++) {
      for (const [number, publisher] of publishers.entries()) publisher.send(`${number}:${index}`)
    }
    const orders = await Promise.all(watchers.map((watcher) => watcher.nextTexts(600)))
    expect(orders[1]).toEqual(orders[0])
    expect(orders[2]).toEqual(orders[0])
    expect(new Set(orders[0]).size).toBe(600)
  })

  it.each([
    ['empty', Buffer.alloc(0)],
    ['1 MiB that is not UTF-8', Buffer.alloc(1024 * 1024, 0xfe)],
    ['full of newlines', Buffer.from('\n\n\r\n\n{}')],
  ])('relay a message that is %s unchanged', async (_what, data) => {
    const [publisher, subscriber] = await Promise.all([
      cluster.open(0, '/ws/bytes'),
      cluster.open(1, '/ws/bytes'),
    ])
    publisher.send(data)
    publisher.send('and text')
    const frame = await subscriber.next()
    expect(frame.isBinary).toBe(true)
    expect(frame.data.equals(data)).toBe(true)
    expect(await subscriber.nextText()).toBe('and text')
    publisher.close()
    subscriber.close()
  })

  it('deliver joins and leaves to the watchers on every node', async () => {
    const watcher = await cluster.open(0, '/ws/lobby?events=join,leave')
    await watcher.nextText()
    const visitor = await cluster.open(1, '/ws/lobby')
    expect(JSON.parse(await watcher.nextText())).toMatchObject({ event: 'join', user: 'tester' })
    visitor.close()
    expect(JSON.parse(await watcher.nextText())).toMatchObject({ event: 'leave', user: 'tester' })
  })

  it('deliver a publication to all but the excluded client, on whichever node it is', async () => {
    const excluded = await cluster.open(2, '/ws/excluding?events=join')
    const { client } = JSON.parse(await excluded.nextText()) as { client: string }
    const other = await cluster.open(1, '/ws/excluding')
    await excluded.nextText()
    await callApi(cluster.nodes[0], 'publish', { channel: 'excluding', data: 1, exclude: client })
    await callApi(cluster.nodes[0], 'publish', { channel: 'excluding', data: 2 })
    expect(await other.nextTexts(2)).toEqual(['1', '2'])
    expect(await excluded.nextText()).toBe('2')
  })

  it('list all nodes and all channels on every node', async () => {
    await Promise.all([cluster.open(0, '/ws/sum'), cluster.open(1, '/ws/sum'), cluster.open(2, '/ws/sum')])
    for (const node of cluster.nodes) {
      const channels = await callApi(node, 'channels', { pattern: 's?m' })
      expect(channels.body.result).toEqual({ channels: { sum: { num_clients: 3 } } })
      const info = await callApi(node, 'info', {})
      expect(info.body.result?.['nodes']).toHaveLength(3)
    }
  })

  it('count and ignore malformed relay messages, and receive the next valid one', async () => {
    // Joins are decoded only for channels with watchers.
    const subscriber = await cluster.open(0, '/ws/forged?events=join')
    expect(JSON.parse(await subscriber.nextText())).toMatchObject({ event: 'join' })
    const redis = new Redis(cluster.redis.url)
    const forged = [
      Buffer.from('hello'),
      Buffer.from('{"data":1}'),
      Buffer.of(1),
      Buffer.of(9, 0, 0),
      Buffer.alloc(64, 0xff),
      // A join without the fields of one.
      Buffer.concat([Buffer.of(1, 0, 0, 0, 0, 12, 2, 0), Buffer.alloc(8), Buffer.from('{}')]),
    ]
    const ignored = async () => metric(await cluster.nodes[0].metrics(), 'fanfare_relay_malformed_total')
    for (const message of forged) expect(await redis.publish('fanfare:channel:forged', message)).toBe(1)
    await redis.publish('fanfare:nodes', Buffer.from('{"type":"question"}'))
    await eventually(async () => (await ignored()) === forged.length + 1, 'all forged messages are counted')
    redis.disconnect()
    const publisher = await cluster.open(1, '/ws/forged')
    expect(JSON.parse(await subscriber.nextText())).toMatchObject({ event: 'join' })
    publisher.send('genuine')
    expect(await subscriber.nextText()).toBe('genuine')
  })
})
