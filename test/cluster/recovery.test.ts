import { randomInt } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { metric } from '../support/metric.js'
import { seededRandom } from '../support/random.js'
import { RecoveryLedger } from '../support/recovery-ledger.js'
import { RedisServer } from '../support/redis-server.js'
import { SdkClient } from '../support/sdk-client.js'
import { SdkLine } from '../support/sdk-line.js'

const CLIENTS = 50
const RECONNECTS = 20
const PUBLISH_INTERVAL_MS = 5
/** The longest that a connection lives. */
const MAX_LIFE_MS = 500
const DISTURB_INTERVAL_MS = 400
const CHANNEL = 'feed'

const SETTINGS = {
  FANFARE_AUTH_TOKENS: 'tester=secret',
  FANFARE_API_KEY: API_KEY,
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

/** A subscriber whose connection is cut at random moments, in the middle of handshakes too. */
class Unlucky {
  readonly ledger: RecoveryLedger
  readonly done: Promise<void>
  private readonly client: SdkClient
  private readonly whenHeard = new Set<() => void>()

  constructor(name: string, wsUrl: () => string, random: () => number, payloads: Map<string, string>) {
    this.ledger = new RecoveryLedger(name, payloads)
    const line = new SdkLine(wsUrl)
    this.client = new SdkClient('ws://wherever', { token: 'secret', websocket: line.websocket })
    const subscription = this.client.sdk.newSubscription(CHANNEL, {
      minResubscribeDelay: 10,
      maxResubscribeDelay: 200,
    })
    subscription.on('subscribed', this.ledger.subscribed)
    subscription.on('unsubscribed', ({ code, reason }) =>
      this.ledger.violations.push(`${name}: unsubscribed with ${code} ${reason}`),
    )
    subscription.on('publication', (publication) => {
      this.ledger.published(publication)
      for (const heard of this.whenHeard) heard()
    })
    let cuts = 0
    this.done = new Promise((resolve) => {
      line.opened = () => {
        if (cuts === RECONNECTS) {
          resolve()
          return
        }
        cuts++
        setTimeout(() => line.cut(), random() * MAX_LIFE_MS)
      }
    })
    subscription.subscribe()
    this.client.sdk.connect()
  }

  /** Resolves once it has heard everything up to an offset. */
  async hears(offset: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const heard = () => {
        if (this.ledger.top < offset) return
        this.whenHeard.delete(heard)
        resolve()
      }
      this.whenHeard.add(heard)
      heard()
    })
  }

  close(): void {
    this.client.close()
  }
}

/** Publishes at a steady rate on all nodes in turn until stopped, which resolves with the last offset. */
function publishSteadily(nodes: readonly FanfareProcess[]): () => Promise<number> {
  const answers: Promise<number>[] = []
  const publish = async (index: number): Promise<number> => {
    const node = nodes[index % nodes.length]
    if (node === undefined) throw new Error('there is no node')
    const { body } = await callApi(node, 'publish', { channel: CHANNEL, data: { index } })
    if (body.error !== undefined) throw new Error(`not published: ${body.error.message}`)
    return Number(body.result?.['offset'])
  }
  const startedMs = performance.now()
  const timer = setInterval(() => {
    while (answers.length * PUBLISH_INTERVAL_MS < performance.now() - startedMs) {
      answers.push(publish(answers.length))
    }
  }, PUBLISH_INTERVAL_MS)
  afterThisTest(() => clearInterval(timer))
  return async () => {
    clearInterval(timer)
    const offsets = await Promise.all(answers)
    // No publish was said to be taken without a place of its own.
    expect(new Set(offsets).size).toBe(answers.length)
    return Math.max(...offsets)
  }
}

async function torture(
  nodes: readonly FanfareProcess[],
  disturb: () => void = () => undefined,
): Promise<void> {
  const seed = randomInt(2 ** 31)
  const random = seededRandom(seed)
  const payloads = new Map<string, string>()
  const wsUrl = () => nodes[Math.floor(random() * nodes.length)]?.wsUrl ?? ''
  const stopPublishing = publishSteadily(nodes)
  const disturbing = setInterval(disturb, DISTURB_INTERVAL_MS)
  afterThisTest(() => clearInterval(disturbing))
  const clients = Array.from(
    { length: CLIENTS },
    (_, index) => new Unlucky(`client ${index}`, wsUrl, random, payloads),
  )
  afterThisTest(() => {
    for (const client of clients) client.close()
  })
  await Promise.all(clients.map(({ done }) => done))
  clearInterval(disturbing)
  const top = await stopPublishing()
  await Promise.all(clients.map((client) => client.hears(top)))

  const ledgers = clients.map(({ ledger }) => ledger)
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)
  expect({
    seed,
    violations: ledgers.flatMap(({ violations }) => violations).slice(0, 20),
    notRecovered: sum(ledgers.map(({ notRecovered }) => notRecovered)),
    tops: [...new Set(ledgers.map((ledger) => ledger.top))],
  }).toEqual({ seed, violations: [], notRecovered: 0, tops: [top] })
  // Some are cut before they have asked; most have.
  expect(sum(ledgers.map(({ recovered }) => recovered))).toBeGreaterThan((CLIENTS * RECONNECTS) / 2)
  for (const node of nodes) {
    expect(metric(await node.metrics(), 'fanfare_relay_unrepaired_gaps_total')).toBe(0)
    expect(node.child.output).not.toMatch(/"level":"error"/)
  }
}

describe('1,000 reconnects at random moments under 200 publications a second', () => {
  afterEach(cleanUp)
  const start = async (settings: Record<string, string> = {}) => {
    const node = await FanfareProcess.start({ ...SETTINGS, ...settings })
    afterThisTest(() => node.child.stop('SIGKILL'))
    return node
  }

  it('lose, repeat and reorder nothing on two nodes and a Redis', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const settings = { FANFARE_REDIS_URL: redis.url }
    await torture(await Promise.all([start(settings), start(settings)]))
  }, 60_000)

  it('lose, repeat and reorder nothing while the nodes’ subscriptions are killed', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const admin = new Redis(redis.url)
    afterThisTest(() => admin.disconnect())
    const settings = { FANFARE_REDIS_URL: redis.url }
    const nodes = await Promise.all([start(settings), start(settings)])
    await torture(nodes, () => void admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
  }, 60_000)

  it('lose, repeat and reorder nothing on a node that is alone', async () => {
    await torture([await start()])
  }, 60_000)
})
