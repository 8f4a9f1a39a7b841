import { afterEach, describe, expect, it } from 'vitest'
import { type CreateNodeOptions, createNode, errors, type FanfareNode } from '../../src/index.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { LogOf } from '../support/log-of.js'
import { eventually } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { RedisServer } from '../support/redis-server.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const ANY_PORTS = { port: 0, internalPort: 0, logLevel: 'silent', drainWindow: 0 }

const ignore = () => undefined
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore }

async function start({ settings, ...options }: CreateNodeOptions = {}): Promise<FanfareNode> {
  const node = await createNode({ settings: { ...ANY_PORTS, ...settings }, ...options })
  afterThisTest(() => node.stop())
  return node
}

async function connect(node: FanfareNode, options = {}): Promise<SdkClient> {
  const client = await SdkClient.connect(`ws://127.0.0.1:${node.port}`, { token: 'any', ...options })
  afterThisTest(() => client.close())
  return client
}

const asAlice = { connect: () => ({ user: 'alice' }) }

describe('a node in an application', () => {
  it('listens on ports that the system chooses', async () => {
    const node = await start({ hooks: asAlice })
    expect(node.port).toBeGreaterThan(0)
    expect((await fetch(`http://127.0.0.1:${node.internalPort}/ready`)).status).toBe(200)
  })

  it('does not start when nobody could connect: it makes nothing up', async () => {
    await expect(createNode()).rejects.toThrow(
      'hooks.connect: nobody could connect; give it, or set authTokens',
    )
  })

  it('keeps the server API closed without a key', async () => {
    const node = await start({ hooks: asAlice })
    const response = await fetch(`http://127.0.0.1:${node.port}/api/info`, { method: 'POST', body: '{}' })
    expect(response.status).toBe(401)
  })

  it('names every setting that is not right', async () => {
    // As from JavaScript, where no compiler looks.
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

  it('stops once, however often it is told to', async () => {
    const node = await start({ hooks: asAlice })
    const alice = await connect(node)
    expect(await Promise.all([node.stop(), node.stop()])).toEqual([true, true])
    expect((await alice.connecting.first(2))[1]).toMatchObject({ code: 3001 })
    await expect(fetch(`http://127.0.0.1:${node.port}/`)).rejects.toThrow()
  })

  it('is one of a cluster with others that have the same Redis', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const settings = { redisUrl: redis.url }
    const [one, other] = [
      await start({ settings, hooks: asAlice }),
      await start({ settings, hooks: asAlice }),
    ]
    const alice = await connect(one)
    const room = await alice.subscribe('room')
    await other.publish('room', 'from the other')
    expect(await room.data(1)).toEqual(['from the other'])
    await eventually(async () => (await other.presence('room')).size === 1, 'alice is present')
    expect(await other.disconnect('alice')).toBe(1)
  })

  it('needs no secret beside the hook, even where others reach it', async () => {
    const node = await start({ settings: { host: '0.0.0.0' }, hooks: asAlice })
    await connect(node)
  })

  it('rejects in one line when its port is taken', async () => {
    const { port } = await start({ hooks: asAlice })
    await expect(start({ settings: { port }, hooks: asAlice })).rejects.toThrow(String(port))
  })

  it('publishes, with the options of the server API', async () => {
    const settings = { namespaces: [{ name: '', history_size: 10, history_ttl: '1m' }] }
    const node = await start({ settings, hooks: { ...asAlice, subscribe: () => ({}) } })
    const alice = await connect(node)
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
    ['data that is no JSON', 'news', undefined, 107, 'not JSON'],
    ['data that can be no JSON', 'news', 1n, 107, 'BigInt'],
    ['data above the limit', 'news', 'x'.repeat(1024), 106, 'the limit is 1024'],
  ])('refuses to publish %s', async (_what, channel, data, code, hint) => {
    const settings = { maxMessageBytes: '1KiB', namespaces: [{ name: '' }] }
    const node = await start({ settings, hooks: asAlice })
    const publishing = node.publish(channel, data)
    await expect(publishing).rejects.toMatchObject({ code, message: expect.stringContaining(hint) })
  })

  it('sends to a user past all channels, on every node, and says to how many connections', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const hooks = { connect: ({ token }: { token: string }) => ({ user: token }) }
    const settings = { redisUrl: redis.url, authTokens: 'alice=token-a' }
    const [one, other] = await Promise.all([start({ settings, hooks }), start({ settings, hooks })])
    const clients = [
      await connect(one, { token: 'alice' }),
      await connect(other, { token: 'alice' }),
      await connect(other, { token: 'bob' }),
    ]
    const raw = await RawClient.connect(`ws://127.0.0.1:${one.port}/ws/room`, { token: 'token-a' })
    afterThisTest(() => raw.close())
    expect(await one.send('alice', { unread: 3 })).toBe(2)
    expect(await one.send('bob', [])).toBe(1)
    expect(await one.send('nobody', 1)).toBe(0)
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

  it('disconnects a user, and says how many connections that were', async () => {
    const node = await start({ hooks: asAlice })
    const [one, other] = [await connect(node), await connect(node)]
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

  it('tells who is in a channel, with their infos as JSON values', async () => {
    const hooks = {
      connect: () => ({ user: 'alice', info: { name: 'Alice' } }),
      subscribe: () => ({ info: ['seat', 7] }),
    }
    const node = await start({ hooks })
    const alice = await connect(node)
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

describe('hooks', () => {
  it('may leave everything to the settings', async () => {
    const undecided = () => undefined
    const hooks = { connect: undecided, subscribe: undecided, publish: undecided }
    const node = await start({ settings: { authTokens: 'bob=token-b' }, hooks })
    const bob = await connect(node, { token: 'token-b' })
    const room = await bob.subscribe('room')
    await room.sdk.publish('as it is')
    expect(await room.data(1)).toEqual(['as it is'])
  })

  it('may decide later, by anything that has a then', async () => {
    const later = <T>(value: T): PromiseLike<T> => {
      const promise = Promise.resolve(value)
      // biome-ignore lint/suspicious/noThenProperty: what query builders give is no Promise.
      return { then: (...callbacks) => promise.then(...callbacks) }
    }
    const hooks = {
      connect: () => later({ user: 'alice', channels: ['inbox'] }),
      subscribe: () => later({}),
      publish: () => later({ data: null }),
      rpc: () => later('pong'),
    }
    const node = await start({
      settings: { namespaces: [{ name: '', allow_publish_for_client: true }] },
      hooks,
    })
    const alice = await connect(node)
    const room = await alice.subscribe('room')
    await room.sdk.publish('replaced by nothing')
    expect(await room.data(1)).toEqual([null])
    expect((await alice.sdk.rpc('ping', {})).data).toBe('pong')
    await node.publish('inbox', 'for alice')
    expect((await alice.publications.first(1))[0]).toMatchObject({ channel: 'inbox', data: 'for alice' })
  })

  it('refuse with what they throw: a protocol error as it is, a defect as error 100, which is logged', async () => {
    const logged = new LogOf<{ err: Error }>()
    const log = { ...SILENT, error: (facts: object) => logged.add(facts as { err: Error }) }
    const hooks = {
      ...asAlice,
      rpc: ({ method }: { method: string }) => {
        if (method === 'busy') throw errors.tooManyRequests('come back later')
        if (method === 'odd') return { big: 1n }
        throw new Error('the database is on fire')
      },
    }
    const node = await start({ hooks, log })
    const alice = await connect(node)
    await expect(alice.sdk.rpc('busy', {})).rejects.toMatchObject({ code: 111, temporary: true })
    await expect(alice.sdk.rpc('defect', {})).rejects.toMatchObject({
      code: 100,
      message: expect.not.stringContaining('fire'),
    })
    await expect(alice.sdk.rpc('odd', {})).rejects.toMatchObject({ code: 100 })
    const [defect, odd] = await logged.first(2)
    expect([defect?.err.message, odd?.err.message]).toEqual([
      'the database is on fire',
      expect.stringContaining('BigInt'),
    ])
  })

  it.each([false, true])('that fail on a disconnect harm nobody (later: %s)', async (isLater) => {
    const left = new LogOf<string>()
    const logged = new LogOf<string>()
    const log = { ...SILENT, error: (_: object, sentence: string) => logged.add(sentence) }
    const disconnect = ({ user, code, reason }: { user: string; code: number; reason: string }) => {
      left.add(`${user} ${code} ${reason}`)
      if (isLater) return Promise.reject(new Error('too late'))
      throw new Error('now')
    }
    const hooks = { ...asAlice, disconnect }
    const node = await start({ hooks, log })
    await connect(node)
    await node.disconnect('alice')
    expect(await left.first(1)).toEqual(['alice 3503 force disconnect'])
    expect(await logged.first(1)).toEqual(['the disconnect hook failed'])
    await connect(node)
  })

  it.each<[string, object, string]>([
    ['nobody for a user', { connect: () => ({}) }, 'user must be a text'],
    ['a number for a user', { connect: () => ({ user: 5 }) }, 'user must be a text'],
    ['a name too long', { connect: () => ({ user: 'x'.repeat(256) }) }, 'at most 255'],
    [
      'a text for channels',
      { connect: () => ({ user: 'alice', channels: 'room' }) },
      'channels must be a list',
    ],
    [
      'no time',
      { connect: () => ({ user: 'alice', expireAt: Number.NaN }) },
      'expireAt must be Unix seconds',
    ],
  ])('are not followed when they decide on %s, which is logged', async (_what, hooks, hint) => {
    const logged = new LogOf<string>()
    const log = { ...SILENT, error: ({ err }: { err: Error }) => logged.add(err.message) }
    const node = await start({ hooks, log } as object)
    const client = new SdkClient(`ws://127.0.0.1:${node.port}`, { token: 'any' })
    afterThisTest(() => client.close())
    client.sdk.connect()
    expect((await client.errors.first(1))[0]).toMatchObject({ code: 100 })
    expect(await logged.find((message) => message.includes(hint))).toBeDefined()
    expect(client.connected.items).toEqual([])
  })

  it('may be the methods of an object that has more than them', async () => {
    class Application {
      private readonly users = new Map([['any', 'alice']])

      connect({ token }: { token: string }) {
        return { user: this.users.get(token) ?? '' }
      }

      rpc() {
        return [...this.users.values()]
      }
    }
    const node = await start({ hooks: new Application() })
    const alice = await connect(node)
    await alice.subscribe('room')
    expect((await alice.sdk.rpc('users', {})).data).toEqual(['alice'])
  })

  it.each([false, true, 0, 'no', null, [], new Error('no')])(
    'let nobody in with %j, which is no decision',
    async (decision) => {
      const logged = new LogOf<string>()
      const log = { ...SILENT, error: ({ err }: { err: Error }) => logged.add(err.message) }
      const decide = () => decision
      const hooks = { ...asAlice, subscribe: decide, publish: decide, refresh: decide }
      const settings = { namespaces: [{ name: '', allow_publish_for_client: true }] }
      const node = await start({ settings, hooks, log } as object)
      const alice = await connect(node)
      expect(await alice.add('staff').errors.first(1)).toMatchObject([{ code: 100 }])
      await expect(alice.sdk.publish('room', 1)).rejects.toMatchObject({ code: 100 })
      const client = await RawClient.connect(`ws://127.0.0.1:${node.port}/connection/websocket`)
      afterThisTest(() => client.close())
      client.send('{"id":1,"connect":{}}\n{"id":2,"refresh":{"token":"forged"}}')
      const [, refresh] = (await client.nextTexts(2)).flatMap((text) => text.split('\n'))
      expect(refresh).toContain('"code":100')
      expect(logged.items.filter((line) => /gives an object or undefined/.test(line))).toHaveLength(3)
    },
  )

  it('are not followed when there is no data, or no time, in what they give', async () => {
    const logged = new LogOf<string>()
    const log = { ...SILENT, error: ({ err }: { err: Error }) => logged.add(err.message) }
    const hooks = {
      ...asAlice,
      publish: () => ({}),
      subscribe: ({ channel }: { channel: string }) => (channel === 'room' ? {} : { expireAt: 'soon' }),
    }
    const settings = { namespaces: [{ name: '', allow_publish_for_client: true }] }
    const node = await start({ settings, hooks, log } as object)
    const alice = await connect(node)
    const room = await alice.subscribe('room')
    await expect(room.sdk.publish(1)).rejects.toMatchObject({ code: 100 })
    expect(await alice.add('other').errors.first(1)).toMatchObject([{ code: 100 }])
    expect(logged.items).toEqual([
      'hooks.publish: the data is not JSON',
      'hooks: expireAt must be Unix seconds',
    ])
    expect(room.publications.items).toEqual([])
  })

  it('are asked with numbers, while others get what was published to the last digit', async () => {
    const asked: unknown[] = []
    const publish = ({ data }: { data: unknown }) => {
      asked.push(data)
      return undefined
    }
    const settings = { namespaces: [{ name: '', allow_publish_for_client: true }], authTokens: 'token-a' }
    const node = await start({ settings, hooks: { ...asAlice, subscribe: () => ({}), publish } })
    const client = await RawClient.connect(`ws://127.0.0.1:${node.port}/connection/websocket`)
    afterThisTest(() => client.close())
    const data = '{"id":1234567890123456789,"price":0.10000000000000000001,"text":"12345678901234567890"}'
    client.send(
      [
        '{"id":1,"connect":{}}',
        '{"id":2,"subscribe":{"channel":"room"}}',
        `{"id":3,"publish":{"channel":"room","data":${data}}}`,
      ].join('\n'),
    )
    const lines = (await client.nextTexts(4)).flatMap((text) => text.split('\n'))
    expect(lines.find((line) => line.includes('"pub"'))).toContain(`"data":${data}`)
    expect(asked).toEqual([JSON.parse(data)])
  })

  it('take what clients send without an answer, one after the other, and only log what they make of it', async () => {
    const taken: unknown[] = []
    const logged = new LogOf<string>()
    const log = { ...SILENT, error: (_: object, sentence: string) => logged.add(sentence) }
    let isTaking = false
    const message = async ({ user, data }: { user: string; data: unknown }) => {
      if (isTaking) throw new Error('two at once')
      isTaking = true
      await new Promise(setImmediate)
      isTaking = false
      taken.push([user, data])
      if (data === 2) throw errors.badRequest('not that one')
    }
    const node = await start({ hooks: { ...asAlice, message }, log })
    const alice = await connect(node)
    for (const data of [1, 2, 3]) await alice.sdk.send(data)
    await expect(alice.sdk.rpc('after', {})).rejects.toMatchObject({ code: 108 })
    expect(taken).toEqual([1, 2, 3].map((data) => ['alice', data]))
    expect(logged.items).toEqual(['the message hook failed'])
    expect(alice.disconnected.items).toEqual([])
  })

  it('refresh the connections and subscriptions that they let expire', async () => {
    const soon = () => Math.floor(Date.now() / 1_000) + 2
    const asked = new LogOf<string>()
    const hooks = {
      connect: () => ({ user: 'alice', expireAt: soon() }),
      subscribe: () => ({ expireAt: soon() }),
      refresh: ({ user, channel, token }: { user: string; channel: string | undefined; token: string }) => {
        asked.add(`${user} ${channel} ${token}`)
        return {}
      },
    }
    const node = await start({ hooks })
    const alice = await connect(node, { getToken: async () => 'newer' })
    await alice.subscribe('room', { getToken: async () => 'newest' })
    expect([...(await asked.first(2))].sort()).toEqual(['alice room newest', 'alice undefined newer'])
    expect(alice.disconnected.items).toEqual([])
  })

  it('are asked 1,024 times at once by one client, whose further commands wait until there are too many', async () => {
    let asked = 0
    const waiting: (() => void)[] = []
    const rpc = () => {
      asked++
      return new Promise<void>((resolve) => waiting.push(resolve))
    }
    const node = await start({ hooks: { ...asAlice, rpc } })
    const flood = async (count: number) => {
      const alice = await connect(node)
      alice.sdk.startBatching()
      const calls = Array.from({ length: count }, () => alice.sdk.rpc('wait', {}))
      alice.sdk.stopBatching()
      return { alice, calls }
    }
    const { calls } = await flood(1_024 + 2_048)
    const answered = Promise.all(calls)
    while (asked < calls.length) {
      await new Promise((resolve) => setImmediate(resolve))
      expect(waiting.length).toBeLessThanOrEqual(1_024)
      for (const answer of waiting.splice(0)) answer()
    }
    for (const answer of waiting.splice(0)) answer()
    expect(await answered).toHaveLength(calls.length)
    const tooMany = await flood(1_024 + 2_048 + 1)
    for (const call of tooMany.calls) call.catch(() => undefined)
    expect((await tooMany.alice.connecting.first(2))[1]).toMatchObject({ code: 3013 })
  })

  it('are not asked about raw clients, who follow the settings', async () => {
    const asked = new LogOf<string>()
    const ask = (what: string) => () => {
      asked.add(what)
      return undefined
    }
    const hooks = { connect: ask('connect'), publish: ask('publish'), disconnect: ask('disconnect') }
    const node = await start({ settings: { authTokens: 'bob=token-b' }, hooks })
    const url = `ws://127.0.0.1:${node.port}/ws/room`
    const [bob, other] = [
      await RawClient.connect(url, { token: 'token-b' }),
      await RawClient.connect(url, { token: 'token-b' }),
    ]
    bob.send('hello')
    expect(await other.nextText()).toBe('hello')
    expect(asked.items).toEqual([])
  })
})
