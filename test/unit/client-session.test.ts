import { createSigner } from 'fast-jwt'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { JwtVerifier } from '../../src/auth/jwt-verifier.js'
import { TokenAuthenticator } from '../../src/auth/token-authenticator.js'
import type { History } from '../../src/broker/broker.js'
import { MemoryBroker } from '../../src/broker/memory-broker.js'
import { Namespaces } from '../../src/channel/namespaces.js'
import { ConnectionSlots } from '../../src/connection/connection-slots.js'
import { Connections } from '../../src/connection/connections.js'
import { TimerWheel } from '../../src/connection/timer-wheel.js'
import { Channels } from '../../src/hub/channels.js'
import { Hub } from '../../src/hub/hub.js'
import type { ChannelRules } from '../../src/hub/local-channel.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { MemoryPresenceStore } from '../../src/presence/memory-presence-store.js'
import { PresenceAnnouncer } from '../../src/presence/presence-announcer.js'
import type { ClientInfo } from '../../src/protocol/client-info.js'
import { type Close, UNSUBSCRIBES } from '../../src/protocol/closes.js'
import { errors } from '../../src/protocol/errors.js'
import type { ClientSessionContext } from '../../src/session/client-connection.js'
import { ClientSession } from '../../src/session/client-session.js'
import type { Socket } from '../../src/transport/transport.js'
import { publication } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'
import { namespace } from '../support/namespace.js'
import { PATIENCE } from '../support/patience.js'

const SECRET = 'a secret that signs tokens, long enough'
const START_MS = 1_800_000_000_000
const PING_INTERVAL_MS = 25_000
const PONG_TIMEOUT_MS = 8_000
const TICK_MS = 100
/** Joins and leaves of a client that may be under way. */
const MAX_MOVES = 4

let context: ClientSessionContext

function createContext(
  namespaces = new Namespaces(undefined),
  rules: Partial<ChannelRules> = {},
): ClientSessionContext {
  const log = createLogger({ level: 'silent', format: 'json' })
  const metrics = new Metrics('test')
  const broker = new MemoryBroker()
  const connections = new Connections()
  const hub = new Hub(connections, broker, () => undefined, metrics, hubOptions(rules))
  broker.start(hub)
  const store = new MemoryPresenceStore()
  return {
    connections,
    hub,
    slots: new ConnectionSlots(10),
    channels: new Channels(namespaces, broker, store, 100, metrics, log),
    presence: new PresenceAnnouncer(store, broker, log, MAX_MOVES),
    wheel: new TimerWheel(() => Date.now(), TICK_MS),
    metrics,
    log,
    broker,
    authenticator: new TokenAuthenticator({
      staticTokens: [{ user: 'ann', token: 'secret-a' }],
      jwts: new JwtVerifier({
        hmacSecret: SECRET,
        publicKeys: undefined,
        remoteKeys: undefined,
        audience: undefined,
        issuer: undefined,
      }),
      allowAnonymous: false,
    }),
    hooks: {},
    node: { id: 'node', version: 'test' },
    pingIntervalMs: PING_INTERVAL_MS,
    pongTimeoutMs: PONG_TIMEOUT_MS,
    staleTimeoutMs: 10_000,
    maxChannels: 2,
    maxCommandBytes: 65_536,
    maxQueuedBytes: 200_000,
    maxHistoryPublications: 100,
    maxAnswerBytes: 512 * 1024,
  }
}

/** The other end of a session: keeps what it is sent, and when. */
class Client {
  readonly session = new ClientSession(context, '')
  readonly received: { readonly atMs: number; readonly text: string }[] = []
  readonly closes: { readonly atMs: number; readonly close: Close }[] = []

  constructor() {
    const socket: Socket = {
      send: (data) => this.received.push({ atMs: Date.now() - START_MS, text: Buffer.from(data).toString() }),
      ping: () => undefined,
      close: (close) => {
        this.closes.push({ atMs: Date.now() - START_MS, close })
        this.session.closed(close.code, close.reason)
      },
      subscribe: () => undefined,
      unsubscribe: () => undefined,
      broadcastToOthers: () => undefined,
      bufferedBytes: () => 0,
    }
    this.session.opened(socket)
  }

  static connected(token: string): Client {
    const client = new Client()
    client.say({ id: 1, connect: { token } })
    return client
  }

  say(...commands: object[]): void {
    this.session.message(Buffer.from(commands.map((one) => JSON.stringify(one)).join('\n')), false)
  }

  get pings(): number[] {
    return this.received.filter(({ text }) => text === '{}').map(({ atMs }) => atMs)
  }

  reply(id: number): unknown {
    const replies = this.received.map(({ text }) => JSON.parse(text) as { id?: number })
    return replies.find((reply) => reply.id === id)
  }
}

function pass(durationMs: number): void {
  for (let passedMs = 0; passedMs < durationMs; passedMs += TICK_MS) {
    vi.setSystemTime(Date.now() + TICK_MS)
    context.wheel.tick()
  }
}

/** The same, while the client answers what it is pinged. */
function passAnswering(client: Client, durationMs: number): void {
  for (let passedMs = 0; passedMs < durationMs; passedMs += TICK_MS) {
    const before = client.pings.length
    pass(TICK_MS)
    if (client.pings.length > before) client.say({})
  }
}

/** Signed now: of these tests' time, not of the machine's. */
function sign(claims: object): string {
  return createSigner({ key: SECRET, algorithm: 'HS256', noTimestamp: true })(claims)
}
const inSeconds = (seconds: number) => START_MS / 1_000 + seconds

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS, toFake: ['Date'] })
  context = createContext()
})
afterEach(() => vi.useRealTimers())

describe('channels that a token names', () => {
  it.each(['news#bob', 'news#bob,carol', 'news#'])('let nobody connect whom %s leaves out', (channel) => {
    for (const claims of [{ channels: ['room', channel] }, { subs: { [channel]: {} } }]) {
      const client = Client.connected(sign({ sub: 'ann', ...claims }))
      expect(client.reply(1)).toMatchObject({ error: { code: 103 } })
      expect(client.session.subscriptions).toEqual([])
    }
  })

  it('may be limited to the user, or be anybody’s when the application says so', async () => {
    const client = Client.connected(sign({ sub: 'ann', channels: ['news#ann', '$news'] }))
    expect(client.reply(1)).toMatchObject({ connect: { subs: { 'news#ann': {}, $news: {} } } })
    const connect = () => Promise.resolve({ user: 'ann', channels: ['news#bob'] })
    context = { ...context, hooks: { connect } }
    const decided = Client.connected('')
    await expect.poll(() => decided.reply(1)).toMatchObject({ connect: { subs: { 'news#bob': {} } } })
  })
})

describe('a client of the Centrifuge protocol', () => {
  it('is told who it is, how long, where and when, and how it is pinged', () => {
    const client = Client.connected(sign({ sub: 'ann', exp: inSeconds(60) }))
    const id = client.session.client
    const ping = Math.ceil(context.pingIntervalMs / 1_000)
    expect(client.reply(1)).toEqual({
      id: 1,
      connect: {
        client: id,
        version: 'test',
        expires: true,
        ttl: 60,
        ping,
        pong: true,
        session: id,
        node: 'node',
        time: START_MS,
      },
    })
  })

  it('that does not say who it is within the stale time is closed with 3502', () => {
    const client = new Client()
    pass(9_900)
    expect(client.closes).toEqual([])
    pass(300)
    expect(client.closes[0]?.close).toMatchObject({ code: 3502, reason: 'stale' })
  })

  it('that was refused may try again until then', () => {
    const client = new Client()
    client.say({ id: 1, connect: { token: sign({ sub: 'ann', exp: inSeconds(-1) }) } }, { id: 2, ping: {} })
    expect(client.reply(1)).toMatchObject({ error: { code: 109 } })
    expect(client.reply(2)).toBeUndefined()
    client.say({ id: 3, connect: { token: 'secret-a' } }, { id: 4, ping: {} })
    expect(client.reply(4)).toEqual({ id: 4, ping: {} })
  })

  it('is pinged first in the second half of the interval, then once an interval, as long as it answers', () => {
    const client = Client.connected('secret-a')
    passAnswering(client, 100_000)
    const [first = 0, second = 0, third = 0] = client.pings
    expect(first).toBeGreaterThanOrEqual(PING_INTERVAL_MS / 2 - TICK_MS)
    expect(first).toBeLessThanOrEqual(PING_INTERVAL_MS + 2 * TICK_MS)
    expect(Math.abs(second - first - PING_INTERVAL_MS)).toBeLessThanOrEqual(2 * TICK_MS)
    expect(Math.abs(third - second - PING_INTERVAL_MS)).toBeLessThanOrEqual(2 * TICK_MS)
    expect(client.closes).toEqual([])
  })

  it('that does not answer a ping in time is closed with 3012', () => {
    const client = Client.connected('secret-a')
    pass(40_000)
    const [pingedAt = 0] = client.pings
    expect(client.closes[0]?.close).toMatchObject({ code: 3012, reason: 'no pong' })
    const waitedMs = (client.closes[0]?.atMs ?? 0) - pingedAt
    expect(waitedMs).toBeGreaterThanOrEqual(PONG_TIMEOUT_MS)
    expect(waitedMs).toBeLessThanOrEqual(PONG_TIMEOUT_MS + 2 * TICK_MS)
  })

  it('is told when it expires, and closed with 3005 once 25 s more have passed', () => {
    const client = Client.connected(sign({ sub: 'ann', exp: inSeconds(60) }))
    expect(client.reply(1)).toMatchObject({ connect: { expires: true, ttl: 60 } })
    passAnswering(client, 84_000)
    expect(client.closes).toEqual([])
    passAnswering(client, 1_300)
    expect(client.closes[0]?.close).toMatchObject({ code: 3005 })
  })

  it('stays when it refreshes its token in time, as the same user only', () => {
    const client = Client.connected(sign({ sub: 'ann', exp: inSeconds(10) }))
    client.say({ id: 2, refresh: { token: sign({ sub: 'ann', exp: inSeconds(3_600) }) } })
    expect(client.reply(2)).toMatchObject({ refresh: { expires: true, ttl: 3_600 } })
    client.say({ id: 3, refresh: { token: sign({ sub: 'eve', exp: inSeconds(3_600) }) } })
    expect(client.closes[0]?.close).toMatchObject({ code: 3500 })
  })

  it('is told when the server has set its expiry, and is closed with 3005 when that is over', () => {
    const client = Client.connected('secret-a')
    client.session.refresh(START_MS + 60_000)
    client.session.refresh(undefined)
    client.session.refresh(START_MS)
    const pushes = client.received.map(({ text }) => text).filter((text) => text.includes('push'))
    expect(pushes).toEqual(['{"push":{"refresh":{"expires":true,"ttl":60}}}', '{"push":{"refresh":{}}}'])
    expect(client.closes).toMatchObject([{ close: { code: 3005 } }])
  })

  it('is told with 2501 that a subscription has expired, unless its token is refreshed', () => {
    const client = Client.connected('secret-a')
    const token = (channel: string, seconds: number) => sign({ sub: 'ann', channel, exp: inSeconds(seconds) })
    client.say(
      { id: 2, subscribe: { channel: '$kept', token: token('$kept', 5) } },
      { id: 3, subscribe: { channel: '$lost', token: token('$lost', 5) } },
      { id: 4, sub_refresh: { channel: '$kept', token: token('$kept', 3_600) } },
      { id: 5, sub_refresh: { channel: '$lost', token: token('$kept', 3_600) } },
      { id: 6, sub_refresh: { channel: 'elsewhere', token: token('elsewhere', 3_600) } },
    )
    expect(client.reply(2)).toMatchObject({ subscribe: { expires: true, ttl: 5 } })
    expect(client.reply(4)).toMatchObject({ sub_refresh: { ttl: 3_600 } })
    expect(client.reply(5)).toMatchObject({ error: { code: 103 } })
    expect(client.reply(6)).toMatchObject({ error: { code: 103 } })
    passAnswering(client, 30_300)
    const pushes = client.received.filter(({ text }) => text.includes('"unsubscribe"'))
    expect(pushes.map(({ text }) => JSON.parse(text) as unknown)).toEqual([
      { push: { channel: '$lost', unsubscribe: { code: 2501, reason: 'subscription expired' } } },
    ])
    expect(client.session.isSubscribed('$kept')).toBe(true)
  })

  it('needs a token for a private channel, of its own and for that channel', () => {
    const client = Client.connected('secret-a')
    client.say(
      { id: 2, subscribe: { channel: '$room' } },
      { id: 3, subscribe: { channel: '$room', token: sign({ sub: 'bob', channel: '$room' }) } },
      { id: 4, subscribe: { channel: '$room', token: sign({ sub: 'ann', channel: '$other' }) } },
      {
        id: 5,
        subscribe: { channel: '$room', token: sign({ sub: 'ann', channel: '$room', exp: inSeconds(-1) }) },
      },
      { id: 6, subscribe: { channel: '$room', token: sign({ sub: 'ann', channel: '$room' }) } },
    )
    for (const id of [2, 3, 4]) expect(client.reply(id)).toMatchObject({ error: { code: 103 } })
    expect(client.reply(5)).toMatchObject({ error: { code: 109 } })
    expect(client.reply(6)).toEqual({ id: 6, subscribe: {} })
  })

  it('may have so many subscriptions, and each only once', () => {
    const client = Client.connected('secret-a')
    client.say(
      { id: 2, subscribe: { channel: 'a' } },
      { id: 3, subscribe: { channel: 'a' } },
      { id: 4, subscribe: { channel: 'b' } },
      { id: 5, subscribe: { channel: 'c' } },
      { id: 6, unsubscribe: { channel: 'a' } },
      { id: 7, subscribe: { channel: 'c' } },
    )
    expect(client.reply(3)).toMatchObject({ error: { code: 105 } })
    expect(client.reply(5)).toMatchObject({ error: { code: 106 } })
    expect(client.reply(7)).toEqual({ id: 7, subscribe: {} })
  })

  it('is refused when its token or the application says that it has expired, and leaves nothing behind', async () => {
    const past = { sub: 'ann', channels: ['personal'], expire_at: inSeconds(-60) }
    const byToken = Client.connected(sign(past))
    expect(byToken.reply(1)).toMatchObject({ error: { code: 109 } })
    const connect = () => Promise.resolve({ user: 'ann', channels: ['personal'], expireAt: inSeconds(-60) })
    context = { ...context, hooks: { connect } }
    const byApplication = Client.connected('')
    await vi.waitFor(() => expect(byApplication.reply(1)).toMatchObject({ error: { code: 109 } }), PATIENCE)
    expect(context.hub.channelCount).toBe(0)
    expect(await context.channels.presenceStats('personal')).toEqual({ clients: 0, users: 0 })
  })

  it('is refused a subscription that the application lets expire in the past', async () => {
    let isOver = true
    const expiry = () => ({ expireAt: inSeconds(isOver ? -60 : 60) })
    context = { ...context, hooks: { subscribe: expiry, refresh: expiry } }
    const client = Client.connected('secret-a')
    client.say({ id: 2, subscribe: { channel: 'room' } })
    expect(client.reply(2)).toMatchObject({ error: { code: 110 } })
    expect(context.hub.channelCount).toBe(0)
    isOver = false
    client.say({ id: 3, subscribe: { channel: 'room' } })
    expect(client.reply(3)).toMatchObject({ subscribe: { expires: true, ttl: 60 } })
    isOver = true
    client.say({ id: 4, sub_refresh: { channel: 'room', token: '' } })
    expect(client.reply(4)).toMatchObject({ error: { code: 110 } })
    expect(client.session.isSubscribed('room')).toBe(true)
  })

  it('is not subscribed any more when the server says so while the application decides', async () => {
    let decide: (decision: undefined) => void = () => undefined
    const subscribe = () =>
      new Promise<undefined>((resolve) => {
        decide = resolve
      })
    context = { ...context, hooks: { subscribe } }
    const client = Client.connected('secret-a')
    client.say({ id: 2, subscribe: { channel: 'room' } })
    expect(client.session.unsubscribe('room', UNSUBSCRIBES.server)).toBe(true)
    decide(undefined)
    await vi.waitFor(() => expect(client.reply(2)).toMatchObject({ error: { code: 103 } }), PATIENCE)
    expect(context.hub.channelCount).toBe(0)
    expect(client.closes).toEqual([])
  })

  it('has its publications in the order in which it made them, however long the application takes', async () => {
    // The later it is asked, the sooner it answers.
    let roundsToTake = 4
    const publish = async (): Promise<undefined> => {
      const rounds = --roundsToTake
      for (let round = 0; round < rounds; round++) await new Promise(setImmediate)
    }
    context = { ...context, hooks: { publish } }
    const client = Client.connected('secret-a')
    client.say(...[1, 2, 3, 4].map((n) => ({ id: n + 1, publish: { channel: 'room', data: n } })))
    await vi.waitFor(() => expect(client.reply(5)).toEqual({ id: 5, publish: {} }), PATIENCE)
    const order = client.received.map(({ text }) => (JSON.parse(text) as { id?: number }).id)
    expect(order).toEqual([1, 2, 3, 4, 5])
  })

  it('may have a frame’s worth of commands wait while the application decides on it, no more', async () => {
    const waiting: (() => void)[] = []
    const connect = () =>
      new Promise<{ user: string }>((resolve) => waiting.push(() => resolve({ user: 'ann' })))
    context = { ...context, hooks: { connect } }
    const command = (id: number) => ({ id, rpc: { method: 'x', data: 'x'.repeat(60_000) } })
    const modest = Client.connected('')
    for (let id = 2; id <= 4; id++) modest.say(command(id))
    const greedy = Client.connected('')
    for (let id = 2; id <= 5; id++) greedy.say(command(id))
    expect(greedy.closes[0]?.close).toMatchObject({ code: 3013 })
    expect(modest.closes).toEqual([])
    for (const decide of waiting) decide()
    await vi.waitFor(() => expect(modest.reply(4)).toBeDefined(), PATIENCE)
    for (let id = 5; id <= 7; id++) modest.say(command(id))
    expect(modest.closes).toEqual([])
  })

  it('that is refused three times is closed with 3509', () => {
    const token = sign({ sub: 'ann', exp: inSeconds(-1) })
    const client = new Client()
    for (let id = 1; id <= 2; id++) client.say({ id, connect: { token } })
    expect(client.closes).toEqual([])
    client.say({ id: 3, connect: 'malformed' }, { id: 4, connect: { token: 'secret-a' } })
    expect(client.reply(3)).toMatchObject({ error: { code: 107 } })
    expect(client.closes[0]?.close).toMatchObject({ code: 3509, reason: 'too many errors' })
    expect(client.reply(4)).toBeUndefined()
  })

  it('that makes nothing but errors is closed with 3509 after 1,000 and one for each channel', () => {
    const client = Client.connected('secret-a')
    const wrong = (count: number) =>
      Array.from({ length: count }, (_, index) =>
        index % 2 === 0 ? { id: 2, history: 'malformed' } : { id: 2, subscribe: { channel: '$private' } },
      )
    for (let round = 0; round < 3; round++)
      client.say(
        ...wrong(1_002),
        { id: 3, subscribe: { channel: 'a' } },
        { id: 4, unsubscribe: { channel: 'a' } },
      )
    expect(client.closes).toEqual([])
    client.say(...wrong(1_003), { id: 5, ping: {} })
    expect(client.closes[0]?.close).toMatchObject({ code: 3509 })
    expect(client.reply(5)).toBeUndefined()
  })

  it('is not blamed for what the application makes of its calls', async () => {
    const rpc = () => Promise.reject(errors.badRequest('not now'))
    context = { ...context, hooks: { rpc } }
    const client = Client.connected('secret-a')
    client.say(...Array.from({ length: 500 }, (_, index) => ({ id: index + 2, rpc: { method: 'x' } })))
    await vi.waitFor(() => expect(client.reply(501)).toMatchObject({ error: { code: 107 } }), PATIENCE)
    expect(client.closes).toEqual([])
  })

  it('comes to channels and leaves them no faster than the cluster is told, and is closed with 3013 where it goes on', async () => {
    let answer = (): void => undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    class SlowStore extends MemoryPresenceStore {
      override async add(channel: string, info: ClientInfo): Promise<number> {
        await answered
        return super.add(channel, info)
      }
    }
    const presence = new PresenceAnnouncer(new SlowStore(), context.broker, context.log, MAX_MOVES)
    context = { ...context, presence }
    const moves = (pairs: number) =>
      Array.from({ length: pairs }, (_, index) => [
        { id: 2 * index + 2, subscribe: { channel: 'a' } },
        { id: 2 * index + 3, unsubscribe: { channel: 'a' } },
      ]).flat()
    const modest = Client.connected('secret-a')
    modest.say(...moves(100), { id: 1_000, ping: {} })
    expect(modest.reply(MAX_MOVES + 1)).toEqual({ id: MAX_MOVES + 1, unsubscribe: {} })
    expect(modest.reply(MAX_MOVES + 2)).toBeUndefined()
    expect(modest.reply(1_000)).toBeUndefined()
    const greedy = Client.connected('secret-a')
    greedy.say(...moves(1_500))
    expect(greedy.closes[0]?.close).toMatchObject({ code: 3013 })
    const other = Client.connected('secret-a')
    other.say({ id: 2, subscribe: { channel: 'a' } }, { id: 3, ping: {} })
    expect(other.reply(3)).toEqual({ id: 3, ping: {} })
    expect(presence.pendingCount).toBe(3)
    answer()
    await vi.waitFor(() => expect(modest.reply(1_000)).toEqual({ id: 1_000, ping: {} }))
    expect(modest.reply(201)).toEqual({ id: 201, unsubscribe: {} })
    expect(modest.closes).toEqual([])
    await presence.settled()
    expect(presence.pendingCount).toBe(0)
  })

  it('may have 3,072 commands in a frame, also of those that are done at once', () => {
    const client = Client.connected('secret-a')
    const pings = Array.from({ length: 3_072 }, (_, index) => ({ id: index + 2, ping: {} }))
    client.say(...pings)
    expect(client.reply(3_073)).toEqual({ id: 3_073, ping: {} })
    expect(client.closes).toEqual([])
    client.say(...pings, { id: 5_000, ping: {} })
    expect(client.closes[0]?.close).toMatchObject({ code: 3013 })
    expect(client.reply(5_000)).toBeUndefined()
  })

  it('that waits too long for the application may come back: 3004', () => {
    context = { ...context, hooks: { connect: () => new Promise(() => undefined) } }
    const client = Client.connected('')
    pass(10_300)
    expect(client.closes[0]?.close.code).toBe(3004)
  })

  it('leaves nothing behind when it goes', () => {
    const client = Client.connected(sign({ sub: 'ann', channels: ['personal'] }))
    client.say({ id: 2, subscribe: { channel: 'a' } })
    expect(context.hub.channelCount).toBe(2)
    client.session.closed(1006, '')
    expect(context.hub.channelCount).toBe(0)
    expect(context.connections.count).toBe(0)
    pass(60_000)
    expect(client.closes).toEqual([])
  })
})

describe('two sessions that come to a channel without members', () => {
  const top = (offset: number): History => ({ publications: [], position: { epoch: 'epoch', offset } })

  it.each([
    [
      'subscribe',
      () => Client.connected('secret-a'),
      { subscribe: { channel: 'a' } },
      { subscribe: { offset: 2 } },
    ],
    [
      'connect with a token that names it',
      () => new Client(),
      { connect: { token: sign({ sub: 'ann', channels: ['a'] }) } },
      { connect: { subs: { a: { offset: 2 } } } },
    ],
  ])(
    'and %s both begin, although one has read more than this node has heard',
    async (_what, open, command, reply) => {
      const namespaces = new Namespaces([namespace({ allowSubscribeForClient: true, forceRecovery: true })])
      context = createContext(namespaces, { metaTtlMs: 60_000 })
      const reads: ((history: History) => void)[] = []
      vi.spyOn(context.broker, 'history').mockImplementation(
        () => new Promise((resolve) => reads.push(resolve)),
      )
      const [behind, ahead] = [Client.connected('secret-a'), open()]
      behind.say({ id: 2, subscribe: { channel: 'a' } })
      ahead.say({ id: 2, ...command })
      await vi.waitFor(() => expect(reads).toHaveLength(2), PATIENCE)
      reads[0]?.(top(1))
      reads[1]?.(top(2))
      await vi.waitFor(() => expect(behind.reply(2)).toMatchObject({ subscribe: { offset: 1 } }), PATIENCE)
      await vi.waitFor(() => expect(reads).toHaveLength(3), PATIENCE)
      expect(ahead.reply(2)).toBeUndefined()
      reads[2]?.(top(2))
      context.hub.receive('a', [publication('heard', { position: { epoch: 'epoch', offset: 2 } })])
      await vi.waitFor(() => expect(ahead.reply(2)).toMatchObject(reply), PATIENCE)
    },
  )
})
