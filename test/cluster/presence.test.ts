import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cluster, TOKEN } from '../support/cluster.js'
import { eventually } from '../support/metric.js'
import type { RawClient } from '../support/raw-client.js'

const CROWD = 2_000

interface PresenceFrame {
  event: 'join' | 'leave'
  client: string
  online: number
}

interface Answer {
  id: number
  connect?: { client: string }
  presence?: { presence: object }
}

async function nextEvents(client: RawClient, count: number): Promise<PresenceFrame[]> {
  return (await client.nextTexts(count)).map((text) => JSON.parse(text) as PresenceFrame)
}

function clientsOf(events: readonly PresenceFrame[]): string[] {
  return events.map(({ client }) => client).sort()
}

describe('presence of a cluster', () => {
  let cluster: Cluster
  let admin: Redis
  beforeEach(async () => {
    cluster = await Cluster.start()
    admin = new Redis(cluster.redis.url)
    admin.on('error', () => undefined)
  })
  afterEach(async () => {
    for (const { child } of cluster.nodes) child.kill('SIGCONT')
    admin.disconnect()
    await cluster.stop()
  })

  const openMany = async (node: 0 | 1 | 2, path: string, count: number) => {
    const clients: RawClient[] = []
    while (clients.length < count) {
      const batchSize = Math.min(100, count - clients.length)
      clients.push(...(await Promise.all(Array.from({ length: batchSize }, () => cluster.open(node, path)))))
    }
    return clients
  }
  const storedCount = (channel: string) => admin.hlen(`fanfare:presence:clients:{:${channel}}`)

  it('includes a client for itself, however fast it subscribes, unsubscribes and subscribes again', async () => {
    const client = await cluster.open(0, '/connection/websocket')
    const channel = 'room'
    const commands = [
      { connect: { token: TOKEN } },
      { subscribe: { channel } },
      { unsubscribe: { channel } },
      { subscribe: { channel } },
      { presence: { channel } },
      { presence_stats: { channel } },
    ]
    client.send(commands.map((command, index) => JSON.stringify({ id: index + 1, ...command })).join('\n'))
    const texts = await client.nextTexts(commands.length)
    const answers = new Map(
      texts.map((text) => {
        const answer = JSON.parse(text) as Answer
        return [answer.id, answer] as const
      }),
    )
    expect(Object.keys(answers.get(5)?.presence?.presence ?? {})).toEqual([answers.get(1)?.connect?.client])
    expect(answers.get(6)).toEqual({ id: 6, presence_stats: { num_clients: 1, num_users: 1 } })
  })

  it('counts the clients of all nodes', async () => {
    const watcher = await cluster.open(0, '/ws/room?events=join,leave')
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'join', online: 1 }])
    const second = await cluster.open(1, '/ws/room')
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'join', online: 2 }])
    await cluster.open(2, '/ws/room?events=join')
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'join', online: 3 }])
    second.close()
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'leave', online: 2 }])
    await cluster.nodes[2].child.stop()
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'leave', online: 1 }])
    expect(await storedCount('room')).toBe(1)
  })

  it('reports a leave for every client of a killed node, and removes them', async () => {
    const watcher = await cluster.open(0, '/ws/room?events=join,leave')
    await openMany(1, '/ws/room', CROWD)
    const joins = (await nextEvents(watcher, CROWD + 1)).slice(1)
    await cluster.nodes[1].child.stop('SIGKILL')
    const leaves = await nextEvents(watcher, CROWD)
    expect(new Set(leaves.map(({ event }) => event))).toEqual(new Set(['leave']))
    expect(clientsOf(leaves)).toEqual(clientsOf(joins))
    expect(leaves.map(({ online }) => online)).toEqual(Array.from({ length: CROWD }, (_, i) => CROWD - i))
    expect(await storedCount('room')).toBe(1)
    await eventually(async () => (await admin.scard('fanfare:members')) === 2, 'the node is forgotten')
  })

  it('sweeps a frozen node as dead, and adds its clients again when it continues', async () => {
    const watcher = await cluster.open(0, '/ws/room?events=join,leave')
    await openMany(1, '/ws/room', 50)
    const joins = (await nextEvents(watcher, 51)).slice(1)
    cluster.nodes[1].child.kill('SIGSTOP')
    const leaves = await nextEvents(watcher, 50)
    expect(clientsOf(leaves)).toEqual(clientsOf(joins))
    cluster.nodes[1].child.kill('SIGCONT')
    const rejoined = await nextEvents(watcher, 50)
    expect(new Set(rejoined.map(({ event }) => event))).toEqual(new Set(['join']))
    expect(clientsOf(rejoined)).toEqual(clientsOf(joins))
    expect(await storedCount('room')).toBe(51)
  })

  it('is restored without presence events when Redis has lost its data', async () => {
    const watcher = await cluster.open(0, '/ws/room?events=join,leave')
    await openMany(1, '/ws/room', 50)
    await openMany(2, '/ws/room', 50)
    await nextEvents(watcher, 101)
    await cluster.redis.stop()
    await cluster.redis.startAgain()
    await eventually(
      async () => (await storedCount('room').catch(() => 0)) === 101,
      'all clients are restored',
    )
    const last = await cluster.open(1, '/ws/room')
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'join', online: 102 }])
    last.close()
    expect(await nextEvents(watcher, 1)).toMatchObject([{ event: 'leave', online: 101 }])
  })
})
