import type { Protocol } from '../clients/requests.js'
import { type Cores, pin } from '../process-usage.js'
import { type Server, type ServerName, startServer } from '../servers.js'
import { BenchmarkChannel, type BenchmarkChannelOptions, type Round } from './benchmark-channel.js'

/**
 * What a server relays before it is measured, to be in the state of its later hours: V8 goes on compiling it for its
 * first ten thousand messages, which at 20/s are more than eight minutes. The channel has few subscribers, so that the
 * slowest server keeps up.
 */
const WARM_UP = { messages: 12_000, ratePerSecond: 1_500, subscribers: 10 }

/** Messages before each round, at its rate and not measured, so that no round begins on an idle machine. */
const LEAD_IN_SECONDS = 0.3

export interface MeasuredServerOptions {
  subscriberCount: number
  /** What Fanfare's clients speak; the baselines know raw frames only. */
  protocol: Protocol
  /** Of Fanfare's node, as its environment. */
  settings: Record<string, string>
  redisUrl: string
  cores: Cores
}

/** One server with the subscribers and the publisher of a channel, idle between its rounds. */
export class MeasuredServer {
  private isBehind = false

  private constructor(
    private server: Server,
    private channel: BenchmarkChannel,
    private readonly options: MeasuredServerOptions,
  ) {}

  static async start(name: ServerName, options: MeasuredServerOptions): Promise<MeasuredServer> {
    const { server, channel } = await open(name, options)
    return new MeasuredServer(server, channel, options)
  }

  get name(): ServerName {
    return this.server.name
  }

  async stop(): Promise<void> {
    await this.channel.close()
    await this.server.stop()
  }

  async warmUp(): Promise<void> {
    const { messages, ratePerSecond, subscribers: subscriberCount } = WARM_UP
    const channel = await BenchmarkChannel.open(
      this.server,
      channelOptions(this.name, this.options, 'warm-up', subscriberCount),
    )
    try {
      const { isComplete } = await channel.measureRound(messages, ratePerSecond)
      if (!isComplete) console.log(`${this.name} fell behind as it was warmed up: expect high figures`)
    } finally {
      await channel.close()
    }
  }

  /** Publishes `rate × seconds` messages and measures from when the first is due until the last is delivered. */
  async measureRound(ratePerSecond: number, seconds: number): Promise<Round> {
    if (this.isBehind) await this.replace()
    const leadIn = await this.run(ratePerSecond, LEAD_IN_SECONDS)
    const round = leadIn.isComplete ? await this.run(ratePerSecond, seconds) : leadIn
    this.isBehind = !round.isComplete
    return round
  }

  private run(ratePerSecond: number, seconds: number): Promise<Round> {
    return this.channel.measureRound(Math.ceil(ratePerSecond * seconds), ratePerSecond)
  }

  /** Starts the server anew after it fell behind: its backlog would be charged to the next round. */
  private async replace(): Promise<void> {
    await this.stop()
    const { server, channel } = await open(this.name, this.options)
    this.server = server
    this.channel = channel
    await this.warmUp()
  }
}

async function open(
  name: ServerName,
  options: MeasuredServerOptions,
): Promise<{ server: Server; channel: BenchmarkChannel }> {
  const server = await startServer(name, options.redisUrl, name === 'fanfare' ? options.settings : {})
  pin(server.pid, options.cores.server)
  try {
    const opened = channelOptions(name, options, 'bench', options.subscriberCount)
    return { server, channel: await BenchmarkChannel.open(server, opened) }
  } catch (error) {
    await server.stop()
    throw error
  }
}

function channelOptions(
  server: ServerName,
  { protocol, cores }: MeasuredServerOptions,
  name: string,
  subscriberCount: number,
): BenchmarkChannelOptions {
  return { name, subscriberCount, protocol: server === 'fanfare' ? protocol : 'raw', cores }
}
