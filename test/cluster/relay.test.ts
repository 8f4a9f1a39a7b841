import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { Cluster } from '../support/cluster.js'
import { eventually, metric } from '../support/metric.js'

describe('three nodes and a Redis', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await Cluster.start()
  })
  afterAll(() => cluster.stop())

  it('bring 1,000 messages to 300 clients of the other nodes, once each and in order', async () => {
    const path = '/ws/feed'
    const speaker = await cluster.open(0, path)
    const onSpeakersNode = await cluster.open(0, path)
    const listeners = await Promise.all(
      Array.from({ length: 300 }, (_, index) => cluster.open(index % 2 === 0 ? 1 : 2, path)),
    )
    const said = Array.from({ length: 1_000 }, (_, index) => `message ${index}`)
    for (const text of said) speaker.send(text)
    for (const listener of [...listeners, onSpeakersNode]) {
      expect(await listener.nextTexts(said.length)).toEqual(said)
    }
    // Had anything come twice, or back to the speaker, it would have come before this.
    listeners[0]?.send('that was all')
    expect(await speaker.nextText()).toBe('that was all')
    for (const listener of [...listeners.slice(1), onSpeakersNode]) {
      expect(await listener.nextText()).toBe('that was all')
    }
    for (const client of [...listeners, speaker, onSpeakersNode]) client.close()
  })

  it('keep every client that is the first in its channel', async () => {
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

  it('show every node one order of what is said at once on different nodes', async () => {
    const speakers = await Promise.all([0, 1, 2].map((node) => cluster.open(node as 0 | 1 | 2, '/ws/order')))
    const watchers = await Promise.all([0, 1, 2].map((node) => cluster.open(node as 0 | 1 | 2, '/ws/order')))
    for (let index = 0; index < 200; index++) {
      for (const [number, speaker] of speakers.entries()) speaker.send(`${number}:${index}`)
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
  ])('carry a message that is %s unchanged', async (_what, data) => {
    const [speaker, listener] = await Promise.all([
      cluster.open(0, '/ws/bytes'),
      cluster.open(1, '/ws/bytes'),
    ])
    speaker.send(data)
    speaker.send('and text')
    const frame = await listener.next()
    expect(frame.isBinary).toBe(true)
    expect(frame.data.equals(data)).toBe(true)
    expect(await listener.nextText()).toBe('and text')
    speaker.close()
    listener.close()
  })

  it('tell clients of every node who comes and goes', async () => {
    const watcher = await cluster.open(0, '/ws/lobby?events=join,leave')
    await watcher.nextText()
    const guest = await cluster.open(1, '/ws/lobby')
    expect(JSON.parse(await watcher.nextText())).toMatchObject({ event: 'join', user: 'tester' })
    guest.close()
    expect(JSON.parse(await watcher.nextText())).toMatchObject({ event: 'leave', user: 'tester' })
  })

  it('keep a publication from the client that is excluded, whichever node it is on', async () => {
    const excluded = await cluster.open(2, '/ws/excluding?events=join')
    const { client } = JSON.parse(await excluded.nextText()) as { client: string }
    const other = await cluster.open(1, '/ws/excluding')
    await excluded.nextText()
    await callApi(cluster.nodes[0], 'publish', { channel: 'excluding', data: 1, exclude: client })
    await callApi(cluster.nodes[0], 'publish', { channel: 'excluding', data: 2 })
    expect(await other.nextTexts(2)).toEqual(['1', '2'])
    expect(await excluded.nextText()).toBe('2')
  })

  it('know all nodes and all channels from any node', async () => {
    await Promise.all([cluster.open(0, '/ws/sum'), cluster.open(1, '/ws/sum'), cluster.open(2, '/ws/sum')])
    for (const node of cluster.nodes) {
      const channels = await callApi(node, 'channels', { pattern: 's?m' })
      expect(channels.body.result).toEqual({ channels: { sum: { num_clients: 3 } } })
      const info = await callApi(node, 'info', {})
      expect(info.body.result?.['nodes']).toHaveLength(3)
    }
  })

  it('count and ignore what is no relay message, and hear the next that is', async () => {
    // Of joins only those are read that somebody wants.
    const listener = await cluster.open(0, '/ws/forged?events=join')
    expect(JSON.parse(await listener.nextText())).toMatchObject({ event: 'join' })
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
    const speaker = await cluster.open(1, '/ws/forged')
    expect(JSON.parse(await listener.nextText())).toMatchObject({ event: 'join' })
    speaker.send('genuine')
    expect(await listener.nextText()).toBe('genuine')
  })
})
