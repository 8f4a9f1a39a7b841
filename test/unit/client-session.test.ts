import { createSigner } from 'fast-jwt'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
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
import { publication } from '../contract/publications.js'
import { hubOptions } from '../support/hub-options.js'
import { jwtVerifier } from '../support/jwt-verifier.js'
import { namespace } from '../support/namespace.js'
import { POLL_OPTIONS } from '../support/poll-options.js'
import { stubSocket } from '../support/stub-socket.js'

const SECRET = 'a secret that signs tokens, long enough'
const START_MS = 1_800_000_000_000
const PING_INTERVAL_MS = 25_000
const PONG_TIMEOUT_MS = 8_000
const TICK_MS = 100
/** Joins and leaves of a client that may be pending. */
const MAX_PENDING_CHANGES = 4

let context: ClientSessionContext

function createContext(
  namespaces = new Namespaces(undefined),
  rules: Partial<ChannelRules> = {},
): ClientSessionContext {
  const log = createLogger({ level: 'silent', format: 'json' })
  const metrics = new Metrics('test')
  const broker = new MemoryBroker()
  const connections = new Connections()
  const hub = new Hub({
    connections,
    broker,
    broadcastToTopic: () => undefined,
    metrics,
    ...hubOptions(rules),
  })
  broker.start(hub)
  const store = new MemoryPresenceStore()
  return {
    connections,
    hub,
    slots: new ConnectionSlots(10),
    channels: new Channels({
      namespaces,
      broker,
      presenceStore: store,
      maxHistoryPublications: 100,
      metrics,
      log,
    }),
    presenceAnnouncer: new PresenceAnnouncer(store, broker, log, MAX_PENDING_CHANGES),
    wheel: new TimerWheel(() => Date.now(), TICK_MS),
    metrics,
    log,
    broker,
    authenticator: new TokenAuthenticator({
      staticTokens: [{ user: 'ann', token: 'secret-a' }],
      jwts: jwtVerifier({ hmacSecret: SECRET }),
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

/** The client of a session: records the frames and the closes that it receives, with their times. */
class Client {
  readonly session = new ClientSession(context, '')
  readonly received: { readonly atMs: number; readonly text: string }[] = []
  readonly closes: { readonly atMs: number; readonly close: Close }[] = []

  constructor() {
    const socket = stubSocket({
      send: (data) => this.received.push({ atMs: Date.now() - START_MS, text: Buffer.from(data).toString() }),
      close: (close) => {
        this.closes.push({ atMs: Date.now() - START_MS, close })
        this.session.closed(close.code, close.reason)
      },
    })
    this.session.opened(socket)
  }

  static connected(token: string): Client {
    const client = new Client()
    client.send({ id: 1, connect: { token } })
    return client
  }

  send(...commands: object[]): void {
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

/** Lets time pass while the client answers each ping. */
function passAnswering(client: Client, durationMs: number): void {
  for (let passedMs = 0; passedMs < durationMs; passedMs += TICK_MS) {
    const before = client.pings.length
    pass(TICK_MS)
    if (client.pings.length > before) client.send({})
  }
}

/** Signs claims as they are, without `iat`, which would come from the machine's clock. */
function sign(claims: object): string {
  return createSigner({ key: SECRET, algorithm: 'HS256', noTimestamp: true })(claims)
}
const inSeconds = (seconds: number) => START_MS / 1_000 + seconds

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS, toFake: ['Date'] })
  context = createContext()
})
afterEach(() => vi.useRealTimers())

describe('a token that names channels', () => {
  it.each(['news#bob', 'news#bob,carol', 'news#'])('is refused when %s does not list its user', (channel) => {
    for (const claims of [{ channels: ['room', channel] }, { subs: { [channel]: {} } }]) {
      const client = Client.connected(sign({ sub: 'ann', ...claims }))
      expect(client.reply(1)).toMatchObject({ error: { code: 103 } })
      expect(client.session.subscriptions).toEqual([])
    }
  })

  it('may name channels that are limited to its user, while a connect hook may name any channel', async () => {
    const client = Client.connected(sign({ sub: 'ann', channels: ['news#ann', '$news'] }))
    expect(client.reply(1)).toMatchObject({ connect: { subs: { 'news#ann': {}, $news: {} } } })
    const connect = () => Promise.resolve({ user: 'ann', channels: ['news#bob'] })
    context = { ...context, hooks: { connect } }
    const decided = Client.connected('')
    await expect.poll(() => decided.reply(1)).toMatchObject({ connect: { subs: { 'news#bob': {} } } })
  })
})

describe('a client of the Centrifuge protocol', () => {
  it('gets its id, its expiry, the node, the time and the ping interval in the reply to connect', () => {
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

  it('that does not connect within the stale timeout is closed with 3502', () => {
    const client = new Client()
    pass(9_900)
    expect(client.closes).toEqual([])
    pass(300)
    expect(client.closes[0]?.close).toMatchObject({ code: 3502, reason: 'stale' })
  })

  it('that was refused may send connect again', () => {
    const client = new Client()
    client.send({ id: 1, connect: { token: sign({ sub: 'ann', exp: inSeconds(-1) }) } }, { id: 2, ping: {} })
    expect(client.reply(1)).toMatchObject({ error: { code: 109 } })
    expect(client.reply(2)).toBeUndefined()
    client.send({ id: 3, connect: { token: 'secret-a' } }, { id: 4, ping: {} })
    expect(client.reply(4)).toEqual({ id: 4, ping: {} })
  })

  it('is first pinged in the second half of the interval, then once per interval, as long as it answers', () => {
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

  it('gets the ttl of its token, and is closed with 3005 25 s after it has expired', () => {
    const client = Client.connected(sign({ sub: 'ann', exp: inSeconds(60) }))
    expect(client.reply(1)).toMatchObject({ connect: { expires: true, ttl: 60 } })
    passAnswering(client, 84_000)
    expect(client.closes).toEqual([])
    passAnswering(client, 1_300)
    expect(client.closes[0]?.close).toMatchObject({ code: 3005 })
  })

  it('may refresh its token, but only with one of the same user', () => {
    const client = Client.connected(sign({ sub: 'ann', exp: inSeconds(10) }))
    client.send({ id: 2, refresh: { token: sign({ sub: 'ann', exp: inSeconds(3_600) }) } })
    expect(client.reply(2)).toMatchObject({ refresh: { expires: true, ttl: 3_600 } })
    client.send({ id: 3, refresh: { token: sign({ sub: 'eve', exp: inSeconds(3_600) }) } })
    expect(client.closes[0]?.close).toMatchObject({ code: 3500 })
  })

  it('gets a refresh push when the server sets its expiry, and is closed with 3005 when that has passed', () => {
    const client = Client.connected('secret-a')
    client.session.refresh(START_MS + 60_000)
    client.session.refresh(undefined)
    client.session.refresh(START_MS)
    const pushes = client.received.map(({ text }) => text).filter((text) => text.includes('push'))
    expect(pushes).toEqual(['{"push":{"refresh":{"expires":true,"ttl":60}}}', '{"push":{"refresh":{}}}'])
    expect(client.closes).toMatchObject([{ close: { code: 3005 } }])
  })

  it('is unsubscribed with 2501 when its subscription has expired, unless it refreshes the token', () => {
    const client = Client.connected('secret-a')
    const token = (channel: string, seconds: number) => sign({ sub: 'ann', channel, exp: inSeconds(seconds) })
    client.send(
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

  it('needs a token of its user and for that channel to subscribe to a private channel', () => {
    const client = Client.connected('secret-a')
    client.send(
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

  it('may have subscriptions up to the limit, one per channel', () => {
    const client = Client.connected('secret-a')
    client.send(
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

  it('is refused when its token or the connect hook gives an expiry in the past, and leaves no subscription', async () => {
    const past = { sub: 'ann', channels: ['personal'], expire_at: inSeconds(-60) }
    const byToken = Client.connected(sign(past))
    expect(byToken.reply(1)).toMatchObject({ error: { code: 109 } })
    const connect = () => Promise.resolve({ user: 'ann', channels: ['personal'], expireAt: inSeconds(-60) })
    context = { ...context, hooks: { connect } }
    const byApplication = Client.connected('')
    await vi.waitFor(
      () => expect(byApplication.reply(1)).toMatchObject({ error: { code: 109 } }),
      POLL_OPTIONS,
    )
    expect(context.hub.channelCount).toBe(0)
    expect(await context.channels.presenceStats('personal')).toEqual({ clients: 0, users: 0 })
  })

  it('is refused a subscription for which a hook gives an expiry in the past', async () => {
    let isOver = true
    const expiry = () => ({ expireAt: inSeconds(isOver ? -60 : 60) })
    context = { ...context, hooks: { subscribe: expiry, refresh: expiry } }
    const client = Client.connected('secret-a')
    client.send({ id: 2, subscribe: { channel: 'room' } })
    expect(client.reply(2)).toMatchObject({ error: { code: 110 } })
    expect(context.hub.channelCount).toBe(0)
    isOver = false
    client.send({ id: 3, subscribe: { channel: 'room' } })
    expect(client.reply(3)).toMatchObject({ subscribe: { expires: true, ttl: 60 } })
    isOver = true
    client.send({ id: 4, sub_refresh: { channel: 'room', token: '' } })
    expect(client.reply(4)).toMatchObject({ error: { code: 110 } })
    expect(client.session.isSubscribed('room')).toBe(true)
  })

  it('is not subscribed when the server unsubscribes it while the subscribe hook decides', async () => {
    let decide: (decision: undefined) => void = () => undefined
    const subscribe = () =>
      new Promise<undefined>((resolve) => {
        decide = resolve
      })
    context = { ...context, hooks: { subscribe } }
    const client = Client.connected('secret-a')
    client.send({ id: 2, subscribe: { channel: 'room' } })
    expect(client.session.unsubscribe('room', UNSUBSCRIBES.server)).toBe(true)
    decide(undefined)
    await vi.waitFor(() => expect(client.reply(2)).toMatchObject({ error: { code: 103 } }), POLL_OPTIONS)
    expect(context.hub.channelCount).toBe(0)
    expect(client.closes).toEqual([])
  })

  it('publishes in order, however long the publish hook takes', async () => {
    // Each call of the hook takes less time than the one before.
    let roundsToTake = 4
    const publish = async (): Promise<undefined> => {
      const rounds = --roundsToTake
      for (let round = 0; round < rounds; round++) await new Promise(setImmediate)
    }
    context = { ...context, hooks: { publish } }
    const client = Client.connected('secret-a')
    client.send(...[1, 2, 3, 4].map((n) => ({ id: n + 1, publish: { channel: 'room', data: n } })))
    await vi.waitFor(() => expect(client.reply(5)).toEqual({ id: 5, publish: {} }), POLL_OPTIONS)
    const order = client.received.map(({ text }) => (JSON.parse(text) as { id?: number }).id)
    expect(order).toEqual([1, 2, 3, 4, 5])
  })

  it('may queue commands up to the limit while the connect hook decides, and is closed with 3013 beyond it', async () => {
    const waiting: (() => void)[] = []
    const connect = () =>
      new Promise<{ user: string }>((resolve) => waiting.push(() => resolve({ user: 'ann' })))
    context = { ...context, hooks: { connect } }
    const command = (id: number) => ({ id, rpc: { method: 'x', data: 'x'.repeat(60_000) } })
    const modest = Client.connected('')
    for (let id = 2; id <= 4; id++) modest.send(command(id))
    const greedy = Client.connected('')
    for (let id = 2; id <= 5; id++) greedy.send(command(id))
    expect(greedy.closes[0]?.close).toMatchObject({ code: 3013 })
    expect(modest.closes).toEqual([])
    for (const decide of waiting) decide()
    await vi.waitFor(() => expect(modest.reply(4)).toBeDefined(), POLL_OPTIONS)
    for (let id = 5; id <= 7; id++) modest.send(command(id))
    expect(modest.closes).toEqual([])
  })

  it('that is refused three times is closed with 3509', () => {
    const token = sign({ sub: 'ann', exp: inSeconds(-1) })
    const client = new Client()
    for (let id = 1; id <= 2; id++) client.send({ id, connect: { token } })
    expect(client.closes).toEqual([])
    client.send({ id: 3, connect: 'malformed' }, { id: 4, connect: { token: 'secret-a' } })
    expect(client.reply(3)).toMatchObject({ error: { code: 107 } })
    expect(client.closes[0]?.close).toMatchObject({ code: 3509, reason: 'too many errors' })
    expect(client.reply(4)).toBeUndefined()
  })

  it('that only causes errors is closed with 3509 after 1,000 of them and one for each allowed channel', () => {
    const client = Client.connected('secret-a')
    const wrong = (count: number) =>
      Array.from({ length: count }, (_, index) =>
        index % 2 === 0 ? { id: 2, history: 'malformed' } : { id: 2, subscribe: { channel: '$private' } },
      )
    for (let round = 0; round < 3; round++)
      client.send(
        ...wrong(1_002),
        { id: 3, subscribe: { channel: 'a' } },
        { id: 4, unsubscribe: { channel: 'a' } },
      )
    expect(client.closes).toEqual([])
    client.send(...wrong(1_003), { id: 5, ping: {} })
    expect(client.closes[0]?.close).toMatchObject({ code: 3509 })
    expect(client.reply(5)).toBeUndefined()
  })

  it('is not closed for errors that come from the rpc hook', async () => {
    const rpc = () => Promise.reject(errors.badRequest('not now'))
    context = { ...context, hooks: { rpc } }
    const client = Client.connected('secret-a')
    client.send(...Array.from({ length: 500 }, (_, index) => ({ id: index + 2, rpc: { method: 'x' } })))
    await vi.waitFor(() => expect(client.reply(501)).toMatchObject({ error: { code: 107 } }), POLL_OPTIONS)
    expect(client.closes).toEqual([])
  })

  it('waits while too many of its joins and leaves are pending, and is closed with 3013 when it queues too many commands', async () => {
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
    const presenceAnnouncer = new PresenceAnnouncer(
      new SlowStore(),
      context.broker,
      context.log,
      MAX_PENDING_CHANGES,
    )
    context = { ...context, presenceAnnouncer }
    const joinsAndLeaves = (pairs: number) =>
      Array.from({ length: pairs }, (_, index) => [
        { id: 2 * index + 2, subscribe: { channel: 'a' } },
        { id: 2 * index + 3, unsubscribe: { channel: 'a' } },
      ]).flat()
    const modest = Client.connected('secret-a')
    modest.send(...joinsAndLeaves(100), { id: 1_000, ping: {} })
    expect(modest.reply(MAX_PENDING_CHANGES + 1)).toEqual({ id: MAX_PENDING_CHANGES + 1, unsubscribe: {} })
    expect(modest.reply(MAX_PENDING_CHANGES + 2)).toBeUndefined()
    expect(modest.reply(1_000)).toBeUndefined()
    const greedy = Client.connected('secret-a')
    greedy.send(...joinsAndLeaves(1_500))
    expect(greedy.closes[0]?.close).toMatchObject({ code: 3013 })
    const other = Client.connected('secret-a')
    other.send({ id: 2, subscribe: { channel: 'a' } }, { id: 3, ping: {} })
    expect(other.reply(3)).toEqual({ id: 3, ping: {} })
    expect(presenceAnnouncer.pendingCount).toBe(3)
    answer()
    await vi.waitFor(() => expect(modest.reply(1_000)).toEqual({ id: 1_000, ping: {} }), POLL_OPTIONS)
    expect(modest.reply(201)).toEqual({ id: 201, unsubscribe: {} })
    expect(modest.closes).toEqual([])
    await presenceAnnouncer.settled()
    expect(presenceAnnouncer.pendingCount).toBe(0)
  })

  it('may send 3,072 commands in a frame, although they are executed at once, and is closed with 3013 beyond that', () => {
    const client = Client.connected('secret-a')
    const pings = Array.from({ length: 3_072 }, (_, index) => ({ id: index + 2, ping: {} }))
    client.send(...pings)
    expect(client.reply(3_073)).toEqual({ id: 3_073, ping: {} })
    expect(client.closes).toEqual([])
    client.send(...pings, { id: 5_000, ping: {} })
    expect(client.closes[0]?.close).toMatchObject({ code: 3013 })
    expect(client.reply(5_000)).toBeUndefined()
  })

  it('that waits too long for the connect hook is closed with 3004, which allows it to reconnect', () => {
    context = { ...context, hooks: { connect: () => new Promise(() => undefined) } }
    const client = Client.connected('')
    pass(10_300)
    expect(client.closes[0]?.close.code).toBe(3004)
  })

  it('leaves no subscription, connection or timer when it disconnects', () => {
    const client = Client.connected(sign({ sub: 'ann', channels: ['personal'] }))
    client.send({ id: 2, subscribe: { channel: 'a' } })
    expect(context.hub.channelCount).toBe(2)
    client.session.closed(1006, '')
    expect(context.hub.channelCount).toBe(0)
    expect(context.connections.count).toBe(0)
    pass(60_000)
    expect(client.closes).toEqual([])
  })
})

describe('two sessions that start in a channel without subscribers', () => {
  const top = (offset: number): History => ({ publications: [], position: { epoch: 'epoch', offset } })

  it.each([
    [
      'a subscribe command',
      () => Client.connected('secret-a'),
      { subscribe: { channel: 'a' } },
      { subscribe: { offset: 2 } },
    ],
    [
      'a token that names the channel',
      () => new Client(),
      { connect: { token: sign({ sub: 'ann', channels: ['a'] }) } },
      { connect: { subs: { a: { offset: 2 } } } },
    ],
  ])(
    'both succeed, although the second, by %s, has read a position that this node has not received',
    async (_how, open, command, reply) => {
      const namespaces = new Namespaces([namespace({ allowSubscribeForClient: true, forceRecovery: true })])
      context = createContext(namespaces, { metaTtlMs: 60_000 })
      const reads: ((history: History) => void)[] = []
      vi.spyOn(context.broker, 'history').mockImplementation(
        () => new Promise((resolve) => reads.push(resolve)),
      )
      const [behind, ahead] = [Client.connected('secret-a'), open()]
      behind.send({ id: 2, subscribe: { channel: 'a' } })
      ahead.send({ id: 2, ...command })
      await vi.waitFor(() => expect(reads).toHaveLength(2), POLL_OPTIONS)
      reads[0]?.(top(1))
      reads[1]?.(top(2))
      await vi.waitFor(
        () => expect(behind.reply(2)).toMatchObject({ subscribe: { offset: 1 } }),
        POLL_OPTIONS,
      )
      await vi.waitFor(() => expect(reads).toHaveLength(3), POLL_OPTIONS)
      expect(ahead.reply(2)).toBeUndefined()
      reads[2]?.(top(2))
      context.hub.receive('a', [publication('received', { position: { epoch: 'epoch', offset: 2 } })])
      await vi.waitFor(() => expect(ahead.reply(2)).toMatchObject(reply), POLL_OPTIONS)
    },
  )
})
