import type { Broker } from '../broker/broker.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { GapRepair } from './gap-repair.js'
import { hasReached, isAhead, type LocalChannel, memberCount } from './local-channel.js'

/** Between two rounds, which find what no later publication shows: within 5 s, the repair included. */
const ROUND_INTERVAL_MS = 4_500
/** Channels that a round looks at; the next one goes on from there. */
const MAX_CHANNELS_PER_ROUND = 1_000
/** Channels that are asked about at once. */
const BATCH_CHANNELS = 500
const RETRY_MS = 250

/** Compares what was delivered with the streams themselves: a lost publication that none follows shows nowhere else. */
export class GapWatch {
  private round: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  private next: IterableIterator<LocalChannel> | undefined
  private isWholeOwed = false
  private isBusy = false
  private hasStopped = false

  constructor(
    private readonly channels: () => IterableIterator<LocalChannel>,
    private readonly broker: Broker,
    private readonly repair: GapRepair,
    /** Where a defect is told. */
    private readonly failed: (error: unknown) => void,
  ) {}

  start(): void {
    this.round = setInterval(() => this.run(), ROUND_INTERVAL_MS)
  }

  stop(): void {
    this.hasStopped = true
    clearInterval(this.round)
    clearTimeout(this.retry)
  }

  /** The relay may have lost something of any channel: looks at all of them, until that has succeeded. */
  checkAll(): void {
    this.isWholeOwed = true
    this.run()
  }

  private run(): void {
    if (this.isBusy || this.hasStopped) return
    this.isBusy = true
    clearTimeout(this.retry)
    this.look()
      .catch((error: unknown) => {
        if (!(error instanceof BrokerError)) this.failed(error)
        // One that no round makes up for soon.
        else if (this.isWholeOwed) this.retry = setTimeout(() => this.run(), RETRY_MS)
      })
      .finally(() => {
        this.isBusy = false
      })
  }

  private async look(): Promise<void> {
    if (!this.isWholeOwed) return this.checkEach(this.some())
    while (this.isWholeOwed) {
      this.isWholeOwed = false
      try {
        await this.checkEach([...this.channels()])
      } catch (error) {
        this.isWholeOwed = true
        throw error
      }
    }
  }

  private some(): LocalChannel[] {
    const some: LocalChannel[] = []
    this.next ??= this.channels()
    while (some.length < MAX_CHANNELS_PER_ROUND) {
      const { done, value } = this.next.next()
      if (done === true) {
        this.next = undefined
        return some
      }
      some.push(value)
    }
    return some
  }

  private async checkEach(channels: readonly LocalChannel[]): Promise<void> {
    const streams = channels.filter(({ rules }) => rules.metaTtlMs !== undefined)
    for (let start = 0; start < streams.length; start += BATCH_CHANNELS) {
      await Promise.all(streams.slice(start, start + BATCH_CHANNELS).map((channel) => this.check(channel)))
    }
  }

  private async check(channel: LocalChannel): Promise<void> {
    const { name, held, position } = channel
    const { metaTtlMs } = channel.rules
    if (metaTtlMs === undefined || held !== undefined || memberCount(channel) === 0) return
    const query = { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs }
    const { position: top } = await this.broker.history(name, query)
    if (!hasReached(channel.position, top)) await this.repair.catchUp(channel, top)
    // What was delivered before the stream was read cannot be past its top, unless it was forged.
    else if (isAhead(position, top)) this.repair.begin(channel)
  }
}
