import { Publisher, Subscribers } from '../clients/client-process.js'
import type { DeliveryReport } from '../clients/delivery-ledger.js'
import { MAX_SEQUENCE, monotonicMs } from '../clients/message.js'
import type { Protocol } from '../clients/requests.js'
import { type Cores, cpuTimeNs, pin } from '../process-usage.js'
import type { Server } from '../servers.js'

/** Deliveries that arrive later than this after the last message was due are not counted. */
const TAIL_MS = 1_000

/** From the request to the publisher until its first message is due. */
const HEAD_START_MS = 30

export interface Round {
  ratePerSecond: number
  /** CPU time of the server per verified delivery. */
  cpuUsPerDelivery: number
  /** Every expected delivery was verified before the tail ended. */
  isComplete: boolean
  deliveries: DeliveryReport
  /** The most that the publisher was behind its schedule, in ms: large when the load generator lacks CPU time. */
  publisherLateMs: number
  /** Share of a core that the process of subscribers used, 0 to 1. */
  generatorShare: number
}

export interface BenchmarkChannelOptions {
  name: string
  protocol: Protocol
  subscriberCount: number
  cores: Cores
}

/** A channel of a server, with the process of its subscribers and that of its publisher. */
export class BenchmarkChannel {
  private readonly subscribers = new Subscribers()
  private readonly publisher = new Publisher()
  private nextSequence = 0

  private constructor(private readonly server: Server) {}

  static async open(
    server: Server,
    { name, protocol, subscriberCount, cores }: BenchmarkChannelOptions,
  ): Promise<BenchmarkChannel> {
    const channel = new BenchmarkChannel(server)
    const { url, credentials } = server
    const target = { url, credentials, protocol, channels: [name], channelsPerClient: 1 }
    try {
      pin(channel.subscribers.pid, cores.subscribers)
      pin(channel.publisher.pid, cores.others)
      await channel.subscribers.connect({ ...target, connections: subscriberCount })
      await channel.publisher.connect({ ...target, connections: 1 })
    } catch (error) {
      await channel.close()
      throw error
    }
    return channel
  }

  async close(): Promise<void> {
    await Promise.all([this.publisher.stop(), this.subscribers.stop()])
  }

  /** Publishes that many messages and measures from when the first one is due until the last one is delivered. */
  async measureRound(messages: number, ratePerSecond: number): Promise<Round> {
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
    const [deliveries, published] = await Promise.all([
      this.subscribers.report(deadlineMs),
      this.publisher.publish({ first, messages, ratePerSecond, startMs }),
    ])
    const serverUsedNs = cpuTimeNs(this.server.pid) - serverCpuNs
    const generatorUsedNs = cpuTimeNs(this.subscribers.pid) - generatorCpuNs
    const windowMs = monotonicMs() - startedMs

    return {
      ratePerSecond,
      cpuUsPerDelivery: serverUsedNs / 1000 / deliveries.verified,
      isComplete: deliveries.verified === deliveries.expected,
      deliveries,
      publisherLateMs: published.maxLateMs,
      generatorShare: generatorUsedNs / 1e6 / windowMs,
    }
  }
}
