import type { Cleanup } from '../../load/cleanup.js'
import { errorMessage } from '../../src/error-message.js'
import { API_KEY } from '../support/api.js'
import { HaproxyProcess } from '../support/haproxy-process.js'
import { seededRandom } from '../support/random.js'
import { SECRET } from '../support/signed-tokens.js'
import { type Addresses, ClusterClients } from './cluster-clients.js'
import { unmetDemands } from './demands.js'
import { DEFAULT_SHAPE, type Fault, type FaultContext, type Outcome, type Shape } from './fault.js'
import { FaultNode } from './fault-node.js'
import type { LedgerEvent } from './ledger/events.js'
import { Ledger } from './ledger/ledger.js'
import { type SabotageName, Saboteur } from './ledger/sabotage.js'
import { ApiPublisher, BatchPublisher } from './publishers.js'
import { readCounters, readHistory } from './read-back.js'
import { ReadinessWatch } from './readiness-watch.js'
import { RedisUnderFault, type TopologyName } from './topologies.js'
import { Traffic } from './traffic.js'
import { until, within } from './waits.js'

/** Time for all clients to be subscribed, at the beginning and at the end. */
const SUBSCRIBE_TIMEOUT_MS = 60_000
/** Time in which a fault has to be over, and publishing goes on. */
const FAULT_TIMEOUT_MS = 90_000
/** Time for every subscriber to receive the last publication. A node finds a gap within 5 s, and tries 10 s to repair it. */
const SETTLE_TIMEOUT_MS = 25_000

const NAMESPACES = JSON.stringify([
  {
    name: 'stream',
    presence: true,
    history_size: 100_000,
    history_ttl: '1h',
    force_recovery: true,
    allow_subscribe_for_client: true,
    allow_publish_for_client: true,
    allow_publish_for_subscriber: true,
  },
  {
    name: 'plain',
    allow_subscribe_for_client: true,
    allow_publish_for_client: true,
    allow_publish_for_subscriber: true,
  },
])

export interface RunOptions {
  readonly fault: Fault
  readonly topology: TopologyName
  readonly seed: number
  readonly sabotage?: SabotageName
  /** Instead of the default; what the fault asks for comes before it. */
  readonly shape?: Shape
}

/** The outcome of a run whose ledger was told something wrong, and whether there was anything to break. */
export interface RunResult extends Outcome {
  readonly hasSabotaged: boolean
}

/**
 * Runs a fault in a cluster of its own. A cleanup ends what it has started. A run that cannot go on is judged by what it
 * came to, and is one that has failed.
 */
export async function runFault(options: RunOptions, cleanup: Cleanup): Promise<RunResult> {
  return new FaultRun(options, cleanup).run()
}

class FaultRun {
  private readonly fault: Fault
  private readonly shape: Shape
  private readonly random: () => number
  private readonly nodes: FaultNode[] = []
  private readonly failures: string[] = []
  private readonly ledger: Ledger
  private readonly saboteur: Saboteur | undefined
  private readonly record: (event: LedgerEvent) => void
  private clients: ClusterClients | undefined
  private traffic: Traffic | undefined
  private watch: ReadinessWatch | undefined

  constructor(
    private readonly options: RunOptions,
    private readonly cleanup: Cleanup,
  ) {
    const { fault, seed, sabotage, shape = DEFAULT_SHAPE } = options
    this.fault = fault
    this.shape = { ...shape, ...fault.shape }
    this.random = seededRandom(seed)
    this.ledger = new Ledger(
      fault,
      (subscriber, channel) => this.clients?.mayReceive(subscriber, channel) === true,
    )
    const pass = (event: LedgerEvent) => this.ledger.record(event)
    this.saboteur = sabotage === undefined ? undefined : new Saboteur(sabotage, seededRandom(seed), pass)
    this.record = this.saboteur?.record ?? pass
  }

  async run(): Promise<RunResult> {
    const beganMs = performance.now()
    try {
      await this.perform()
    } catch (error) {
      this.failures.push(errorMessage(error))
    }
    this.watch?.stop()
    return this.judge(beganMs)
  }

  private async perform(): Promise<void> {
    const { fault, options, cleanup } = this
    const { redisArgs = [], proxied = 'none' } = fault
    const redis = await RedisUnderFault.start(options.topology, { args: redisArgs, proxied }, cleanup)
    await this.startNodes(redis)
    const clients = await this.connectClients()
    const watch = new ReadinessWatch(this.nodes)
    this.watch = watch
    cleanup.defer(() => Promise.resolve(watch.stop()))
    const traffic = new Traffic({
      publishers: clients.publishers,
      publicationsPerSecond: this.shape.publicationsPerSecond,
      random: this.random,
      record: this.record,
      attempted: () => clients.churn(),
    })
    this.traffic = traffic
    cleanup.defer(() => Promise.resolve(traffic.halt()))
    traffic.start()
    await within(
      traffic.when(() => traffic.acknowledgements >= this.shape.before),
      FAULT_TIMEOUT_MS,
      `${this.shape.before} publications were not acknowledged`,
    )
    await this.inject(redis, traffic)
    await traffic.stop()
    traffic.pad(0)
    await this.settle(traffic)
    await this.readBack()
  }

  private get allClients(): ClusterClients {
    if (this.clients === undefined) throw new Error('clients come after nodes')
    return this.clients
  }

  private async startNodes(redis: RedisUnderFault): Promise<void> {
    this.cleanup.defer(() => Promise.all(this.nodes.map((node) => node.stop('SIGKILL'))))
    const settings = {
      FANFARE_AUTH_HMAC_SECRET: SECRET,
      FANFARE_API_KEY: API_KEY,
      FANFARE_DRAIN_WINDOW: '1s',
      // So that whoever has missed publications can recover them, however many they are.
      FANFARE_MAX_HISTORY_PUBLICATIONS: '100000',
      FANFARE_QUEUE_BYTES: '256MiB',
      FANFARE_NAMESPACES: NAMESPACES,
      ...this.fault.settings,
      ...this.fault.prepare?.(this.cleanup),
    }
    const start = async (index: number) => {
      const url = { FANFARE_REDIS_URL: redis.urlFor(index) }
      this.nodes[index] = await FaultNode.start(`node ${index}`, { ...settings, ...url })
    }
    await Promise.all(Array.from({ length: this.shape.nodes }, (_, index) => start(index)))
  }

  private async connectClients(): Promise<ClusterClients> {
    const { shape, random, record, cleanup } = this
    const clients = new ClusterClients({ ...(await this.addresses()), shape, random, record })
    this.clients = clients
    cleanup.defer(() => Promise.resolve(clients.close()))
    await clients.connect()
    await until(
      () => clients.sdk.every(({ isSubscribed }) => isSubscribed),
      'every client is subscribed',
      SUBSCRIBE_TIMEOUT_MS,
    )
    return clients
  }

  private async addresses(): Promise<Addresses> {
    const nodeAt = (index: number): FaultNode => {
      const node = this.nodes[index % this.nodes.length]
      if (node === undefined) throw new Error('there are no nodes')
      return node
    }
    if (this.fault.isBalanced === true) {
      const haproxy = await HaproxyProcess.start([nodeAt(0), nodeAt(1), nodeAt(2)])
      this.cleanup.defer(() => haproxy.remove())
      return { wsUrl: () => haproxy.wsUrl, httpUrl: () => haproxy.httpUrl, nodeOf: () => 'the balancer' }
    }
    return {
      wsUrl: () => nodeAt(Math.floor(this.random() * this.nodes.length)).wsUrl,
      httpUrl: (publisher, failures) => nodeAt(publisher + failures).httpUrl,
      nodeOf: (wsUrl) => this.nodes.find((node) => node.wsUrl === wsUrl)?.name ?? wsUrl,
    }
  }

  /** Injects the fault under traffic, and goes on until there were enough publications after it. */
  private async inject(redis: RedisUnderFault, traffic: Traffic): Promise<void> {
    const { shape } = this
    const clients = this.allClients
    const silences = [traffic.silence, ...clients.sdk.flatMap((one) => [...one.silences.values()])]
    for (const silence of silences) silence.begin(performance.now())
    const reached = async (count: () => number, more: number, ms: number, what: string) => {
      const goal = count() + more
      await within(
        traffic.when(() => count() >= goal),
        ms,
        `${more} more publications were not ${what}`,
      )
    }
    const acknowledged = (count: number, ms = FAULT_TIMEOUT_MS) =>
      reached(() => traffic.acknowledgements, count, ms, 'acknowledged')
    const context: FaultContext = {
      redis,
      nodes: this.nodes,
      steady: clients.steady,
      raw: clients.raw,
      channels: clients.streams,
      random: this.random,
      shape,
      attempted: (count) => reached(() => traffic.attempts, count, FAULT_TIMEOUT_MS, 'answered'),
      acknowledged,
      last: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      until: (isTrue, what) => until(isTrue, what, SUBSCRIBE_TIMEOUT_MS),
      pad: (bytes) => traffic.pad(bytes),
      publishEverywhere: (node) =>
        traffic.publishBatch(new BatchPublisher(`batch-${node.name}`, node), clients.streams),
      fail: (reason) => void this.failures.push(reason),
    }
    try {
      await this.fault.inject(context)
      await acknowledged(shape.before)
      await acknowledged(Math.max(0, shape.publications - traffic.acknowledgements))
    } catch (error) {
      this.failures.push(errorMessage(error))
    }
    for (const silence of silences) silence.end(performance.now())
  }

  /** Publishes one more in every channel, and waits until everybody has it who should. */
  private async settle(traffic: Traffic): Promise<void> {
    const clients = this.allClients
    const address = (failures: number) => this.nodes[failures % this.nodes.length]?.httpUrl ?? ''
    const publisher = new ApiPublisher('last', address, true)
    for (const subscriber of clients.sdk) subscriber.ensureSubscribed()
    try {
      await until(
        () => clients.sdk.every(({ isSubscribed }) => isSubscribed),
        'every client is subscribed again',
        SUBSCRIBE_TIMEOUT_MS,
      )
      const last = await Promise.all(
        clients.streams.map(async (channel) => ({ channel, ...(await traffic.publish(publisher, channel)) })),
      )
      for (const { channel, id, answer } of last) {
        const { position } = answer
        if (position === undefined) {
          this.failures.push(`the last publication in ${channel} was not accepted`)
          continue
        }
        const reached = () =>
          [...clients.subscribersOf(channel)].every((one) => one.hasReached(channel, position, id))
        // Whoever has not got it then is found by the ledger.
        await until(reached, 'everybody has received the last publication', SETTLE_TIMEOUT_MS).catch(
          () => undefined,
        )
      }
    } catch (error) {
      this.failures.push(errorMessage(error))
    }
  }

  /** Reads what every channel keeps, and what nodes have counted. */
  private async readBack(): Promise<void> {
    const node = this.nodes.find(({ isUp }) => isUp)
    if (node === undefined) throw new Error('no node is left')
    for (const channel of this.allClients.streams) this.record(await readHistory(node, channel))
    // Behind a balancer nobody knows which node has told a client.
    if (this.fault.isBalanced === true) return
    for (const one of this.nodes) if (one.hasLived) this.record(await readCounters(one))
  }

  private judge(beganMs: number): RunResult {
    const { fault, options, failures, nodes, traffic, watch } = this
    const clients = this.clients?.sdk ?? []
    const ledger = this.ledger.finish()
    const silences = clients.flatMap((one) => [...one.silences.values()].map(({ ms }) => ms))
    const measured = {
      publishSilenceMs: traffic?.silence.ms ?? 0,
      hearSilenceMs: Math.max(0, ...silences),
      slowestAnswerMs: traffic?.slowestAnswerMs ?? 0,
    }
    for (const { endedByItself } of nodes) if (endedByItself !== undefined) failures.push(endedByItself)
    failures.push(...unmetDemands(fault, measured, ledger, watch, clients))
    const isClean = failures.length === 0 && ledger.described.length === 0
    return {
      fault: fault.name,
      topology: options.topology,
      seed: options.seed,
      ledger,
      ...measured,
      readiness: [...(watch?.seen ?? [])],
      failures,
      log: isClean ? [] : nodes.flatMap(({ name, warnings }) => warnings.map((line) => `${name}: ${line}`)),
      durationMs: performance.now() - beganMs,
      hasSabotaged: this.saboteur?.hasActed === true,
    }
  }
}
