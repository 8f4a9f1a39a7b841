import { randomInt } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { metric } from '../support/metric.js'
import { seededRandom } from '../support/random.js'
import { RecoveryLedger } from '../support/recovery-ledger.js'
import { SdkClient } from '../support/sdk-client.js'
import { SdkLink } from '../support/sdk-link.js'

const CLIENTS = 50
const RECONNECTS = 20
const EVENTS_PER_DISTURBANCE = 40
/** The longest lifetime of a connection: from its opening during its handshake, or from its subscription. */
const MAX_HANDSHAKE_MS = 50
const MAX_SUBSCRIBED_MS = 100
const CHANNEL = 'feed'

const SETTINGS = {
  FANFARE_AUTH_TOKENS: 'tester=secret',
  FANFARE_API_KEY: API_KEY,
  // So that every client can recover everything that it missed, however slow the machine is.
  FANFARE_MAX_HISTORY_PUBLICATIONS: '20000',
  FANFARE_QUEUE_BYTES: '64MiB',
  FANFARE_NAMESPACES: JSON.stringify([
    {
      name: '',
      history_size: 20_000,
      history_ttl: '5m',
      force_recovery: true,
      allow_subscribe_for_client: true,
    },
  ]),
}

/** A subscriber whose connection is cut at random moments, during handshakes too. */
class DisturbedSubscriber {
  readonly ledger: RecoveryLedger
  readonly done: Promise<void>
  private readonly client: SdkClient
  private readonly waiters = new Set<() => void>()

  constructor(
    name: string,
    wsUrl: () => string,
    random: () => number,
    payloads: Map<string, string>,
    /** Called when a connection has opened, and when it is subscribed. */
    progressed: () => void,
  ) {
    this.ledger = new RecoveryLedger(name, payloads)
    const link = new SdkLink(wsUrl)
    this.client = new SdkClient('ws://unused', { token: 'secret', websocket: link.websocket })
    const subscription = this.client.sdk.newSubscription(CHANNEL, {
      minResubscribeDelay: 10,
      maxResubscribeDelay: 200,
    })
    let cuts = 0
    let cutOnceSubscribed = false
    const cutWithin = (ms: number) => setTimeout(() => link.cut(), random() * ms)
    subscription.on('subscribed', (context) => {
      this.ledger.subscribed(context)
      progressed()
      if (cutOnceSubscribed) cutWithin(MAX_SUBSCRIBED_MS)
    })
    subscription.on('unsubscribed', ({ code, reason }) =>
      this.ledger.violations.push(`${name}: unsubscribed with ${code} ${reason}`),
    )
    subscription.on('publication', (publication) => {
      this.ledger.published(publication)
      for (const check of this.waiters) check()
    })
    this.done = new Promise((resolve) => {
      link.opened = () => {
        progressed()
        cutOnceSubscribed = false
        if (cuts === RECONNECTS) {
          resolve()
          return
        }
        cuts++
        // Every fourth connection is cut during its handshake.
        if (cuts % 4 === 0) cutWithin(MAX_HANDSHAKE_MS)
        else cutOnceSubscribed = true
      }
    })
    subscription.subscribe()
    this.client.sdk.connect()
  }

  /** Resolves once it has received the publications up to an offset. */
  async receivedUpTo(offset: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const check = () => {
        if (this.ledger.top < offset) return
        this.waiters.delete(check)
        resolve()
      }
      this.waiters.add(check)
      check()
    })
  }

  close(): void {
    this.client.close()
  }
}

/** Publishes on a node one after the other, on each call: the load depends on events, not on time. */
class Publisher {
  private readonly offsets: number[] = []
  private publishing: Promise<unknown> = Promise.resolve()

  constructor(private readonly node: FanfareProcess) {}

  publish(): void {
    this.publishing = this.publishing.then(() => this.publishOne())
    // `end` rejects with it, too.
    this.publishing.catch(() => undefined)
  }

  /** Publishes one more after those of unknown outcome. Resolves with the offsets of all accepted publications. */
  async end(): Promise<readonly number[]> {
    this.publish()
    await this.publishing
    return this.offsets
  }

  /** Publishes until it is accepted: on a busy machine Redis may take longer than the node's deadline. */
  private async publishOne(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const data = { node: this.node.port, index: this.offsets.length, attempt }
      const { body } = await callApi(this.node, 'publish', { channel: CHANNEL, data })
      if (body.error === undefined) return void this.offsets.push(Number(body.result?.['offset']))
      if (body.error.code !== 100) throw new Error(`not published: ${body.error.message}`)
    }
  }
}

async function runWithReconnects(
  nodes: readonly FanfareProcess[],
  disturb: () => void = () => undefined,
): Promise<void> {
  const seed = randomInt(2 ** 31)
  const random = seededRandom(seed)
  const payloads = new Map<string, string>()
  const wsUrl = () => nodes[Math.floor(random() * nodes.length)]?.wsUrl ?? ''
  const publishers = nodes.map((node) => new Publisher(node))
  let events = 0
  let isOver = false
  const progressed = () => {
    if (isOver) return
    publishers[events % publishers.length]?.publish()
    if (++events % EVENTS_PER_DISTURBANCE === 0) disturb()
  }
  const clients = Array.from(
    { length: CLIENTS },
    (_, index) => new DisturbedSubscriber(`client ${index}`, wsUrl, random, payloads, progressed),
  )
  afterThisTest(() => {
    for (const client of clients) client.close()
  })
  await Promise.all(clients.map(({ done }) => done))
  isOver = true
  const offsets = (await Promise.all(publishers.map((publisher) => publisher.end()))).flat()
  // Every accepted publication has its own offset.
  expect(new Set(offsets).size).toBe(offsets.length)
  const top = Math.max(...offsets)
  await Promise.all(clients.map((client) => client.receivedUpTo(top)))

  const ledgers = clients.map(({ ledger }) => ledger)
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)
  expect({
    seed,
    violations: ledgers.flatMap(({ violations }) => violations).slice(0, 20),
    notRecovered: sum(ledgers.map(({ notRecovered }) => notRecovered)),
    tops: [...new Set(ledgers.map((ledger) => ledger.top))],
  }).toEqual({ seed, violations: [], notRecovered: 0, tops: [top] })
  // One of four connections is cut during its handshake, which may be before it is subscribed.
  expect(sum(ledgers.map(({ recovered }) => recovered))).toBeGreaterThanOrEqual(CLIENTS * RECONNECTS * 0.7)
  for (const node of nodes) {
    expect(metric(await node.metrics(), 'fanfare_relay_unrepaired_gaps_total')).toBe(0)
    expect(node.child.output).not.toMatch(/"level":"error"/)
  }
}

describe('1,000 reconnects at random moments under publications', () => {
  afterEach(cleanUp)
  const start = async (settings: Record<string, string> = {}) => {
    const node = await FanfareProcess.start({ ...SETTINGS, ...settings })
    afterThisTest(() => node.child.stop('SIGKILL'))
    return node
  }

  it('lose, repeat and reorder nothing on two nodes with Redis', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const settings = { FANFARE_REDIS_URL: redis.url }
    await runWithReconnects(await Promise.all([start(settings), start(settings)]))
  })

  it('lose, repeat and reorder nothing while the nodes’ subscriptions are killed', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const admin = new Redis(redis.url)
    afterThisTest(() => admin.disconnect())
    const settings = { FANFARE_REDIS_URL: redis.url }
    const nodes = await Promise.all([start(settings), start(settings)])
    await runWithReconnects(nodes, () => void admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
  })

  it('lose, repeat and reorder nothing on a single node', async () => {
    await runWithReconnects([await start()])
  })
})
