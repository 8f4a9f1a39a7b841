import type { Protocol } from '../clients/requests.js'
import { type Cores, pin } from '../process-usage.js'
import { type Server, type ServerName, startServer } from '../servers.js'
import { Room, type RoomOptions, type Round } from './room.js'

/**
 * What a server relays at once to be as in its later hours: V8 goes on compiling it for its first ten thousand messages,
 * more than eight minutes of 20/s. They go to a room of a few, so that the slowest server keeps up.
 */
const WARM_UP = { messages: 12_000, ratePerSecond: 1_500, subscribers: 10 }

/** Messages before each round, at its rate and not measured, so that no round begins on an idle machine. */
const LEAD_IN_SECONDS = 0.3

export interface ContestantOptions {
  subscriberCount: number
  /** What Fanfare's clients speak; the peers know raw frames only. */
  protocol: Protocol
  /** Of Fanfare's node, as its environment. */
  settings: Record<string, string>
  redisUrl: string
  cores: Cores
}

/** One server with the subscribers and the publisher connected to it, idle between its rounds. */
export class Contestant {
  private isBehind = false

  private constructor(
    private server: Server,
    private room: Room,
    private readonly options: ContestantOptions,
  ) {}

  static async start(name: ServerName, options: ContestantOptions): Promise<Contestant> {
    const { server, room } = await open(name, options)
    return new Contestant(server, room, options)
  }

  get name(): ServerName {
    return this.server.name
  }

  async stop(): Promise<void> {
    await this.room.close()
    await this.server.stop()
  }

  async warmUp(): Promise<void> {
    const { messages, ratePerSecond, subscribers: subscriberCount } = WARM_UP
    const few = await Room.open(this.server, roomOptions(this.name, this.options, 'warm-up', subscriberCount))
    try {
      const { isComplete } = await few.publish(messages, ratePerSecond)
      if (!isComplete) console.log(`${this.name} fell behind as it was warmed up: expect high figures`)
    } finally {
      await few.close()
    }
  }

  /** Publishes `rate × seconds` messages and measures from the first one due to the last one delivered. */
  async round(ratePerSecond: number, seconds: number): Promise<Round> {
    if (this.isBehind) await this.replace()
    const leadIn = await this.run(ratePerSecond, LEAD_IN_SECONDS)
    const round = leadIn.isComplete ? await this.run(ratePerSecond, seconds) : leadIn
    this.isBehind = !round.isComplete
    return round
  }

  private run(ratePerSecond: number, seconds: number): Promise<Round> {
    return this.room.publish(Math.ceil(ratePerSecond * seconds), ratePerSecond)
  }

  /** What a server that fell behind still has queued would be charged to the next round: a fresh one takes its place. */
  private async replace(): Promise<void> {
    await this.stop()
    const { server, room } = await open(this.name, this.options)
    this.server = server
    this.room = room
    await this.warmUp()
  }
}

async function open(name: ServerName, options: ContestantOptions): Promise<{ server: Server; room: Room }> {
  const server = await startServer(name, options.redisUrl, name === 'fanfare' ? options.settings : {})
  pin(server.pid, options.cores.server)
  try {
    return {
      server,
      room: await Room.open(server, roomOptions(name, options, 'bench', options.subscriberCount)),
    }
  } catch (error) {
    await server.stop()
    throw error
  }
}

function roomOptions(
  server: ServerName,
  { protocol, cores }: ContestantOptions,
  name: string,
  subscriberCount: number,
): RoomOptions {
  return { name, subscriberCount, protocol: server === 'fanfare' ? protocol : 'raw', cores }
}
