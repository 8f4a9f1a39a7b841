import { afterEach, describe, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { createNode } from '../../src/index.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { eventually } from '../support/metric.js'
import { asAlice, connectTo, startNode } from '../support/node-in-application.js'
import { RawClient } from '../support/raw-client.js'

afterEach(cleanUp)

describe('a node in an application', () => {
  it('listens on ports that the system chooses', async () => {
    const node = await startNode({ hooks: asAlice })
    expect(node.port).toBeGreaterThan(0)
    expect((await fetch(`http://127.0.0.1:${node.internalPort}/ready`)).status).toBe(200)
  })

  it('does not start when no client could authenticate, and generates no credentials', async () => {
    await expect(createNode()).rejects.toThrow(
      'hooks.connect: no client could connect; give it, or set authTokens',
    )
  })

  it('keeps the server API closed without a key', async () => {
    const node = await startNode({ hooks: asAlice })
    const response = await fetch(`http://127.0.0.1:${node.port}/api/info`, { method: 'POST', body: '{}' })
    expect(response.status).toBe(401)
  })

  it('names every wrong setting, hook and option', async () => {
    // As from JavaScript, where no compiler checks.
    const settings = { prot: 1, rawTimeout: 'soon', workers: 2, redisUrl: 'redis://127.0.0.1:1' }
    const hooks = { ...asAlice, conect: () => undefined, rpc: 'names' }
    const options = { settings, hooks, port: 8000 } as object
    const failure: unknown = await createNode(options).catch((error: unknown) => error)
    const lines = String((failure as Error).message).split('\n')
    expect(lines).toEqual([
      expect.stringContaining('prot: is not a setting; did you mean port?'),
      expect.stringContaining('rawTimeout: "soon" is not right'),
      'port: is no option of createNode, which are settings, hooks and log',
      'hooks.conect: is not a hook; did you mean connect?',
      'hooks.rpc: is not a function',
      'workers: are for the command, not for the library',
    ])
  })

  it('stops once when stop is called twice', async () => {
    const node = await startNode({ hooks: asAlice })
    const alice = await connectTo(node)
    expect(await Promise.all([node.stop(), node.stop()])).toEqual([true, true])
    expect((await alice.connecting.first(2))[1]).toMatchObject({ code: 3001 })
    await expect(fetch(`http://127.0.0.1:${node.port}/`)).rejects.toThrow()
  })

  it('forms a cluster with others on the same Redis', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const settings = { redisUrl: redis.url }
    const [one, other] = [
      await startNode({ settings, hooks: asAlice }),
      await startNode({ settings, hooks: asAlice }),
    ]
    const alice = await connectTo(one)
    const room = await alice.subscribe('room')
    await other.publish('room', 'from the other')
    expect(await room.data(1)).toEqual(['from the other'])
    await eventually(async () => (await other.presence('room')).size === 1, 'alice is present')
    expect(await other.disconnect('alice')).toBe(1)
  })

  it('needs no secret beside the connect hook, even on a public address', async () => {
    const node = await startNode({ settings: { host: '0.0.0.0' }, hooks: asAlice })
    await connectTo(node)
  })

  it('rejects with the port when it is taken', async () => {
    const { port } = await startNode({ hooks: asAlice })
    await expect(startNode({ settings: { port }, hooks: asAlice })).rejects.toThrow(String(port))
  })

  it('publishes with the options of the server API', async () => {
    const settings = { namespaces: [{ name: '', history_size: 10, history_ttl: '1m' }] }
    const node = await startNode({ settings, hooks: { ...asAlice, subscribe: () => ({}) } })
    const alice = await connectTo(node)
    const news = await alice.subscribe('news')
    const position = await node.publish('news', { n: 1 }, { tags: { a: 'b' }, idempotencyKey: 'k' })
    expect(position).toEqual({ epoch: expect.any(String), offset: 1 })
    expect(await node.publish('news', { n: 2 }, { idempotencyKey: 'k' })).toEqual(position)
    const exclude = alice.connected.items[0]?.client ?? ''
    expect(await node.publish('news', { n: 3 }, { exclude })).toEqual({ ...position, offset: 2 })
    expect(await node.publish('news', { n: 4 }, { skipHistory: true })).toBeUndefined()
    expect(await news.data(2)).toEqual([{ n: 1 }, { n: 4 }])
    expect(news.publications.items[0]).toMatchObject({ offset: 1, tags: { a: 'b' } })
  })

  it.each<[string, string, unknown, number, string]>([
    ['a channel without a name', '', 1, 107, 'must not be empty'],
    ['a channel of no namespace', 'no:news', 1, 102, 'no namespace'],
    ['data that is not JSON', 'news', undefined, 107, 'not JSON'],
    ['data that cannot be JSON', 'news', 1n, 107, 'BigInt'],
    ['data above the limit', 'news', 'x'.repeat(1024), 106, 'the limit is 1024'],
  ])('refuses to publish %s', async (_what, channel, data, code, hint) => {
    const settings = { maxMessageBytes: '1KiB', namespaces: [{ name: '' }] }
    const node = await startNode({ settings, hooks: asAlice })
    const publishing = node.publish(channel, data)
    await expect(publishing).rejects.toMatchObject({ code, message: expect.stringContaining(hint) })
  })

  it('sends a message to all connections of a user on every node, and returns their number', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const hooks = { connect: ({ token }: { token: string }) => ({ user: token }) }
    const settings = { redisUrl: redis.url, authTokens: 'alice=token-a' }
    const [one, other] = await Promise.all([startNode({ settings, hooks }), startNode({ settings, hooks })])
    const clients = [
      await connectTo(one, { token: 'alice' }),
      await connectTo(other, { token: 'alice' }),
      await connectTo(other, { token: 'bob' }),
    ]
    const raw = await RawClient.connect(`ws://127.0.0.1:${one.port}/ws/room`, { token: 'token-a' })
    afterThisTest(() => raw.close())
    expect(await one.send('alice', { unread: 3 })).toBe(2)
    expect(await one.send('bob', [])).toBe(1)
    expect(await one.send('unknown', 1)).toBe(0)
    for (const [index, data] of [{ unread: 3 }, { unread: 3 }, []].entries()) {
      expect(await clients[index]?.messages.first(1)).toEqual([{ data }])
    }
    for (const [user, data] of [
      ['', 1],
      [5, 1],
      ['alice', undefined],
    ] as const) {
      await expect(one.send(user as string, data)).rejects.toMatchObject({ code: 107 })
    }
    expect(raw.frames).toEqual([])
  })

  it('disconnects a user, and returns the number of connections', async () => {
    const node = await startNode({ hooks: asAlice })
    const [one, other] = [await connectTo(node), await connectTo(node)]
    expect(await node.disconnect('bob')).toBe(0)
    expect(await node.disconnect('alice', { code: 4900, reason: 'enough' })).toBe(2)
    for (const client of [one, other]) {
      expect((await client.disconnected.first(1))[0]).toMatchObject({ code: 4900, reason: 'enough' })
    }
    for (const [user, options] of [
      ['alice', { code: 1000 }],
      ['', {}],
      ['alice', { reason: 'x'.repeat(124) }],
    ] as const) {
      await expect(node.disconnect(user, options)).rejects.toMatchObject({ code: 107 })
    }
  })

  it('returns the presence of a channel with infos as JSON values', async () => {
    const hooks = {
      connect: () => ({ user: 'alice', info: { name: 'Alice' } }),
      subscribe: () => ({ info: ['seat', 7] }),
    }
    const node = await startNode({ hooks })
    const alice = await connectTo(node)
    await alice.subscribe('room')
    expect([...(await node.presence('room')).values()]).toEqual([
      {
        client: alice.connected.items[0]?.client,
        user: 'alice',
        connInfo: { name: 'Alice' },
        chanInfo: ['seat', 7],
      },
    ])
  })
})
