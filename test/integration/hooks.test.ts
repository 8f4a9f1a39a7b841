import { afterEach, describe, expect, it } from 'vitest'
import { errors, ProtocolError } from '../../src/index.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { EventLog } from '../support/event-log.js'
import { asAlice, connectTo, startNode } from '../support/node-in-application.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const ignore = () => undefined
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore }

describe('hooks', () => {
  it('may leave every decision to the settings', async () => {
    const undecided = () => undefined
    const hooks = { connect: undecided, subscribe: undecided, publish: undecided }
    const node = await startNode({ settings: { authTokens: 'bob=token-b' }, hooks })
    const bob = await connectTo(node, { token: 'token-b' })
    const room = await bob.subscribe('room')
    await room.sdk.publish('as it is')
    expect(await room.data(1)).toEqual(['as it is'])
  })

  it('may decide later with any thenable', async () => {
    const later = <T>(value: T): PromiseLike<T> => {
      const promise = Promise.resolve(value)
      // biome-ignore lint/suspicious/noThenProperty: query builders return thenables that are no promises.
      return { then: (...callbacks) => promise.then(...callbacks) }
    }
    const hooks = {
      connect: () => later({ user: 'alice', channels: ['inbox'] }),
      subscribe: () => later({}),
      publish: () => later({ data: null }),
      rpc: () => later('pong'),
    }
    const node = await startNode({
      settings: { namespaces: [{ name: '', allow_publish_for_client: true }] },
      hooks,
    })
    const alice = await connectTo(node)
    const room = await alice.subscribe('room')
    await room.sdk.publish('replaced by nothing')
    expect(await room.data(1)).toEqual([null])
    expect((await alice.sdk.rpc('ping', {})).data).toBe('pong')
    await node.publish('inbox', 'for alice')
    expect((await alice.publications.first(1))[0]).toMatchObject({ channel: 'inbox', data: 'for alice' })
  })

  it('refuse with a thrown protocol error as it is, and with error 100 for a defect, which is logged', async () => {
    const logged = new EventLog<{ err: Error }>()
    const log = { ...SILENT, error: (facts: object) => logged.add(facts as { err: Error }) }
    const hooks = {
      ...asAlice,
      rpc: ({ method }: { method: string }) => {
        if (method === 'busy') throw errors.tooManyRequests('come back later')
        if (method === 'odd') return { big: 1n }
        throw new Error('the database is on fire')
      },
    }
    const node = await startNode({ hooks, log })
    const alice = await connectTo(node)
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

  it('that refuse with codes of their own do not add a series to the metrics for each of them', async () => {
    const rpc = ({ method }: { method: string }) => {
      throw new ProtocolError(Number(method), 'refused')
    }
    const node = await startNode({ hooks: { ...asAlice, rpc } })
    const alice = await connectTo(node)
    for (const code of [4001, 4002, 103])
      await expect(alice.sdk.rpc(String(code), {})).rejects.toMatchObject({ code })
    const exposition = await fetch(`http://127.0.0.1:${node.internalPort}/metrics`)
    const series = (await exposition.text()).match(/^fanfare_command_errors_total\{.*/gm)
    expect(series?.sort()).toEqual([
      'fanfare_command_errors_total{command="rpc",code="103"} 1',
      'fanfare_command_errors_total{command="rpc",code="other"} 2',
    ])
  })

  it.each([false, true])('that fail on a disconnect affect no other client (later: %s)', async (isLater) => {
    const left = new EventLog<string>()
    const logged = new EventLog<string>()
    const log = { ...SILENT, error: (_: object, sentence: string) => logged.add(sentence) }
    const disconnect = ({ user, code, reason }: { user: string; code: number; reason: string }) => {
      left.add(`${user} ${code} ${reason}`)
      if (isLater) return Promise.reject(new Error('too late'))
      throw new Error('now')
    }
    const hooks = { ...asAlice, disconnect }
    const node = await startNode({ hooks, log })
    await connectTo(node)
    await node.disconnect('alice')
    expect(await left.first(1)).toEqual(['alice 3503 force disconnect'])
    expect(await logged.first(1)).toEqual(['the disconnect hook failed'])
    await connectTo(node)
  })

  it.each<[string, object, string]>([
    ['no user', { connect: () => ({}) }, 'user must be a text'],
    ['a number as the user', { connect: () => ({ user: 5 }) }, 'user must be a text'],
    ['a user that is too long', { connect: () => ({ user: 'x'.repeat(256) }) }, 'at most 255'],
    [
      'a text as the channels',
      { connect: () => ({ user: 'alice', channels: 'room' }) },
      'channels must be a list',
    ],
    [
      'an invalid time',
      { connect: () => ({ user: 'alice', expireAt: Number.NaN }) },
      'expireAt must be Unix seconds',
    ],
  ])('are ignored when they return %s, which is logged', async (_what, hooks, hint) => {
    const logged = new EventLog<string>()
    const log = { ...SILENT, error: ({ err }: { err: Error }) => logged.add(err.message) }
    const node = await startNode({ hooks, log } as object)
    const client = new SdkClient(`ws://127.0.0.1:${node.port}`, { token: 'any' })
    afterThisTest(() => client.close())
    client.sdk.connect()
    expect((await client.errors.first(1))[0]).toMatchObject({ code: 100 })
    expect(await logged.find((message) => message.includes(hint))).toBeDefined()
    expect(client.connected.items).toEqual([])
  })

  it('may be methods of an object that has other properties', async () => {
    class Application {
      private readonly users = new Map([['any', 'alice']])

      connect({ token }: { token: string }) {
        return { user: this.users.get(token) ?? '' }
      }

      rpc() {
        return [...this.users.values()]
      }
    }
    const node = await startNode({ hooks: new Application() })
    const alice = await connectTo(node)
    await alice.subscribe('room')
    expect((await alice.sdk.rpc('users', {})).data).toEqual(['alice'])
  })

  it.each([false, true, 0, 'no', null, [], new Error('no')])(
    'refuse every client when they return %j, which is no decision',
    async (decision) => {
      const logged = new EventLog<string>()
      const log = { ...SILENT, error: ({ err }: { err: Error }) => logged.add(err.message) }
      const decide = () => decision
      const hooks = { ...asAlice, subscribe: decide, publish: decide, refresh: decide }
      const settings = { namespaces: [{ name: '', allow_publish_for_client: true }] }
      const node = await startNode({ settings, hooks, log } as object)
      const alice = await connectTo(node)
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

  it('are ignored when they return no data or an invalid time', async () => {
    const logged = new EventLog<string>()
    const log = { ...SILENT, error: ({ err }: { err: Error }) => logged.add(err.message) }
    const hooks = {
      ...asAlice,
      publish: () => ({}),
      subscribe: ({ channel }: { channel: string }) => (channel === 'room' ? {} : { expireAt: 'soon' }),
    }
    const settings = { namespaces: [{ name: '', allow_publish_for_client: true }] }
    const node = await startNode({ settings, hooks, log } as object)
    const alice = await connectTo(node)
    const room = await alice.subscribe('room')
    await expect(room.sdk.publish(1)).rejects.toMatchObject({ code: 100 })
    expect(await alice.add('other').errors.first(1)).toMatchObject([{ code: 100 }])
    expect(logged.items).toEqual([
      'hooks.publish: the data is not JSON',
      'hooks: expireAt must be Unix seconds',
    ])
    expect(room.publications.items).toEqual([])
  })

  it('receive numbers, while subscribers receive the published data to the last digit', async () => {
    const received: unknown[] = []
    const publish = ({ data }: { data: unknown }) => {
      received.push(data)
      return undefined
    }
    const settings = { namespaces: [{ name: '', allow_publish_for_client: true }], authTokens: 'token-a' }
    const node = await startNode({ settings, hooks: { ...asAlice, subscribe: () => ({}), publish } })
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
    expect(received).toEqual([JSON.parse(data)])
  })

  it('handle messages of clients one after the other without an answer, and only log errors', async () => {
    const handled: unknown[] = []
    const logged = new EventLog<string>()
    const log = { ...SILENT, error: (_: object, sentence: string) => logged.add(sentence) }
    let isHandling = false
    const message = async ({ user, data }: { user: string; data: unknown }) => {
      if (isHandling) throw new Error('two at once')
      isHandling = true
      await new Promise(setImmediate)
      isHandling = false
      handled.push([user, data])
      if (data === 2) throw errors.badRequest('not that one')
    }
    const node = await startNode({ hooks: { ...asAlice, message }, log })
    const alice = await connectTo(node)
    for (const data of [1, 2, 3]) await alice.sdk.send(data)
    await expect(alice.sdk.rpc('after', {})).rejects.toMatchObject({ code: 108 })
    expect(handled).toEqual([1, 2, 3].map((data) => ['alice', data]))
    expect(logged.items).toEqual(['the message hook failed'])
    expect(alice.disconnected.items).toEqual([])
  })

  it('refresh the connections and subscriptions that they let expire', async () => {
    const soon = () => Math.floor(Date.now() / 1_000) + 2
    const received = new EventLog<string>()
    const hooks = {
      connect: () => ({ user: 'alice', expireAt: soon() }),
      subscribe: () => ({ expireAt: soon() }),
      refresh: ({ user, channel, token }: { user: string; channel: string | undefined; token: string }) => {
        received.add(`${user} ${channel} ${token}`)
        return {}
      },
    }
    const node = await startNode({ hooks })
    const alice = await connectTo(node, { getToken: async () => 'newer' })
    await alice.subscribe('room', { getToken: async () => 'newest' })
    expect([...(await received.first(2))].sort()).toEqual(['alice room newest', 'alice undefined newer'])
    expect(alice.disconnected.items).toEqual([])
  })

  it('run 1,024 times at once for one client, whose further commands wait up to a limit', async () => {
    let received = 0
    const waiting: (() => void)[] = []
    const rpc = () => {
      received++
      return new Promise<void>((resolve) => waiting.push(resolve))
    }
    const node = await startNode({ hooks: { ...asAlice, rpc } })
    const flood = async (count: number) => {
      const alice = await connectTo(node)
      alice.sdk.startBatching()
      const calls = Array.from({ length: count }, () => alice.sdk.rpc('wait', {}))
      alice.sdk.stopBatching()
      return { alice, calls }
    }
    const { calls } = await flood(1_024 + 2_048)
    const answered = Promise.all(calls)
    while (received < calls.length) {
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

  it('are not called for raw clients, which follow the settings', async () => {
    const received = new EventLog<string>()
    const ask = (what: string) => () => {
      received.add(what)
      return undefined
    }
    const hooks = { connect: ask('connect'), publish: ask('publish'), disconnect: ask('disconnect') }
    const node = await startNode({ settings: { authTokens: 'bob=token-b' }, hooks })
    const url = `ws://127.0.0.1:${node.port}/ws/room`
    const [bob, other] = [
      await RawClient.connect(url, { token: 'token-b' }),
      await RawClient.connect(url, { token: 'token-b' }),
    ]
    bob.send('hello')
    expect(await other.nextText()).toBe('hello')
    expect(received.items).toEqual([])
  })
})
