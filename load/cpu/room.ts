import { Publisher, Subscribers } from '../clients/client-process.js'
import { MAX_SEQUENCE, monotonicMs } from '../clients/message.js'
import type { Protocol } from '../clients/requests.js'
import type { TallyReport } from '../clients/tally.js'
import { type Cores, cpuTimeNs, pin } from '../process-usage.js'
import type { Server } from '../servers.js'

/** How long after the last message was due its deliveries still count as in time to be counted at all. */
const TAIL_MS = 1_000

/** From the request to the publisher until its first message is due. */
const HEAD_START_MS = 30

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

export interface RoomOptions {
  name: string
  protocol: Protocol
  subscriberCount: number
  cores: Cores
}

/** A room of a server, with the processes of its subscribers and of its publisher. */
export class Room {
  private readonly subscribers = new Subscribers()
  private readonly publisher = new Publisher()
  private nextSequence = 0

  private constructor(private readonly server: Server) {}

  static async open(server: Server, { name, protocol, subscriberCount, cores }: RoomOptions): Promise<Room> {
    const room = new Room(server)
    const { url, access } = server
    const where = { url, access, protocol, rooms: [name], roomsEach: 1 }
    try {
      pin(room.subscribers.pid, cores.subscribers)
      pin(room.publisher.pid, cores.others)
      await room.subscribers.connect({ ...where, connections: subscriberCount })
      await room.publisher.connect({ ...where, connections: 1 })
    } catch (error) {
      await room.close()
      throw error
    }
    return room
  }

  async close(): Promise<void> {
    await Promise.all([this.publisher.stop(), this.subscribers.stop()])
  }

  /** Publishes so many messages and measures from the first one due to the last one delivered. */
  async publish(messages: number, ratePerSecond: number): Promise<Round> {
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
