import { Publisher, Subscribers } from '../clients/client-process.js'
import { MAX_SEQUENCE, monotonicMs } from '../clients/message.js'
import type { Protocol } from '../clients/requests.js'
import type { TallyReport } from '../clients/tally.js'
import { type Cores, cpuTimeNs, pin } from '../process-usage.js'
import { type Server, type ServerName, startServer } from '../servers.js'

/** How long after the last message was due its deliveries still count as in time to be counted at all. */
const TAIL_MS = 1_000

/** From the request to the publisher until its first message is due. */
const HEAD_START_MS = 30

/**
 * A thousand messages before the first round, slow enough for the slowest server: at 20/s the first minute would measure
 * how V8 compiles a server, not what a delivery costs.
 */
const WARM_UP = { ratePerSecond: 80, seconds: 12.5 }

/** Messages before each round, at its rate and not measured, so that no round begins on an idle machine. */
const LEAD_IN_SECONDS = 0.3

const ROOM = 'bench'

export interface Round {
  ratePerSecond: number
  /** CPU time of the server per verified delivery. */
  cpuUsPerDelivery: number
  /** Everything expected was verified before the tail ended. */
  isComplete: boolean
  tally: TallyReport
  /** The most that the publisher was behind its schedule, in ms: large values say that the generator is starved. */
  publisherLateMs: number
  /** Share of a core that the process of subscribers used, 0 to 1. */
  generatorShare: number
}

export interface ContestantOptions {
  subscriberCount: number
  /** What Fanfare's clients speak; the peers know raw frames only. */
  protocol: Protocol
  redisUrl: string
  cores: Cores
}

/** One server with the subscribers and the publisher connected to it, idle between its rounds. */
export class Contestant {
  private nextSequence = 0
  private isBehind = false

  private constructor(
    private server: Server,
    private subscribers: Subscribers,
    private publisher: Publisher,
    private readonly options: ContestantOptions,
  ) {}

  static async start(name: ServerName, options: ContestantOptions): Promise<Contestant> {
    const server = await startServer(name, options.redisUrl)
    const contestant = new Contestant(server, new Subscribers(), new Publisher(), options)
    try {
      await contestant.connect()
    } catch (error) {
      await contestant.stop()
      throw error
    }
    return contestant
  }

  get name(): ServerName {
    return this.server.name
  }

  private get protocol(): Protocol {
    return this.name === 'fanfare' ? this.options.protocol : 'raw'
  }

  async stop(): Promise<void> {
    await Promise.all([this.publisher.stop(), this.subscribers.stop()])
    await this.server.stop()
  }

  /** Publishes `rate × seconds` messages and measures from the first one due to the last one delivered. */
  async round(ratePerSecond: number, seconds: number): Promise<Round> {
    if (this.isBehind) await this.replace()
    const leadIn = await this.run(ratePerSecond, LEAD_IN_SECONDS)
    const round = leadIn.isComplete ? await this.run(ratePerSecond, seconds) : leadIn
    this.isBehind = !round.isComplete
    return round
  }

  private async connect(): Promise<void> {
    const { cores, subscriberCount } = this.options
    pin(this.server.pid, cores.server)
    pin(this.subscribers.pid, cores.subscribers)
    pin(this.publisher.pid, cores.others)
    const { url, access } = this.server
    const where = { url, access, protocol: this.protocol, rooms: [ROOM], roomsEach: 1 }
    await this.subscribers.connect({ ...where, connections: subscriberCount })
    await this.publisher.connect({ ...where, connections: 1 })
    this.nextSequence = 0
    await this.run(WARM_UP.ratePerSecond, WARM_UP.seconds)
  }

  /** What a server that fell behind still has queued would be charged to the next round: a fresh one takes its place. */
  private async replace(): Promise<void> {
    const { name } = this
    await this.stop()
    this.server = await startServer(name, this.options.redisUrl)
    this.subscribers = new Subscribers()
    this.publisher = new Publisher()
    await this.connect()
  }

  private async run(ratePerSecond: number, seconds: number): Promise<Round> {
    const messages = Math.ceil(ratePerSecond * seconds)
    const first = this.nextSequence
    this.nextSequence += messages
    if (this.nextSequence > MAX_SEQUENCE)
      throw new Error('out of sequence numbers: use fewer pairs or seconds')
    await this.subscribers.expect(first, messages)

    const startedMs = monotonicMs()
    const serverCpuNs = cpuTimeNs(this.server.pid)
    const generatorCpuNs = cpuTimeNs(this.subscribers.pid)
    const startMs = startedMs + HEAD_START_MS
    const deadlineMs = startMs + (messages / ratePerSecond) * 1000 + TAIL_MS
    const [tally, published] = await Promise.all([
      this.subscribers.tally(deadlineMs),
      this.publisher.publish({ first, messages, ratePerSecond, startMs }),
    ])
    const serverUsedNs = cpuTimeNs(this.server.pid) - serverCpuNs
    const generatorUsedNs = cpuTimeNs(this.subscribers.pid) - generatorCpuNs
    const windowMs = monotonicMs() - startedMs

    return {
      ratePerSecond,
      cpuUsPerDelivery: serverUsedNs / 1000 / tally.verified,
      isComplete: tally.verified === tally.expected,
      tally,
      publisherLateMs: published.maxLateMs,
      generatorShare: generatorUsedNs / 1e6 / windowMs,
    }
  }
}
