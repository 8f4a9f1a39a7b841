import type { Broker } from '../broker/broker.js'
import { chunks } from '../chunks.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { GapRepair } from './gap-repair.js'
import { hasReached, isAhead, type LocalChannel, subscriberCount } from './local-channel.js'

/** Time between two rounds. A gap that no later publication shows is repaired within 5 s. */
const ROUND_INTERVAL_MS = 4_500
/** Channels that a round checks; the next one continues after them. */
const MAX_CHANNELS_PER_ROUND = 1_000
/** Channels that are checked at once. */
const BATCH_CHANNELS = 500
/** Channels that catch up at once: each of them may read a page of its stream. */
const MAX_CATCHING_UP = 500
const RETRY_MS = 250

/**
 * Compares what was delivered with the streams themselves: a lost publication that no other follows shows nowhere else.
 */
export class GapDetector {
  private round: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  private next: IterableIterator<LocalChannel> | undefined
  /** Channels to check now: the relay may have lost events of any of them. */
  private due = new Set<LocalChannel>()
  private isChecking = false
  private hasStopped = false
  private catchingUp = 0
  /** Set while a round waits until one channel less is catching up. */
  private onCaughtUp: (() => void) | undefined

  constructor(
    private readonly channels: () => IterableIterator<LocalChannel>,
    private readonly broker: Broker,
    private readonly repair: GapRepair,
    /** Called with an error that no code expects. */
    private readonly onDefect: (error: unknown) => void,
  ) {}

  start(): void {
    this.round = setInterval(() => this.run(), ROUND_INTERVAL_MS)
  }

  stop(): void {
    this.hasStopped = true
    clearInterval(this.round)
    clearTimeout(this.retry)
  }

  /** Checks channels, each until that has succeeded once: the relay may have lost events of any of them. */
  check(channels: Iterable<LocalChannel>): void {
    for (const channel of channels) this.due.add(channel)
    this.run()
  }

  private run(): void {
    if (this.isChecking || this.hasStopped) return
    this.isChecking = true
    clearTimeout(this.retry)
    const checked = this.due.size > 0 ? this.checkDue() : this.checkChannels(this.nextChannels())
    checked
      .catch((error: unknown) => this.onDefect(error))
      .finally(() => {
        this.isChecking = false
        // The next round comes too late for them.
        if (this.due.size > 0 && !this.hasStopped) this.retry = setTimeout(() => this.run(), RETRY_MS)
      })
  }

  /** Channels that could not be checked stay due. */
  private async checkDue(): Promise<void> {
    const channels = [...this.due]
    this.due = new Set()
    for (const channel of await this.checkChannels(channels)) this.due.add(channel)
  }

  private nextChannels(): LocalChannel[] {
    const channels: LocalChannel[] = []
    this.next ??= this.channels()
    while (channels.length < MAX_CHANNELS_PER_ROUND) {
      const { done, value } = this.next.next()
      if (done === true) {
        this.next = undefined
        return channels
      }
      channels.push(value)
    }
    return channels
  }

  /** Resolves with the channels that could not be checked. */
  private async checkChannels(channels: readonly LocalChannel[]): Promise<LocalChannel[]> {
    const streams = channels.filter(({ rules }) => rules.metaTtlMs !== undefined)
    const unchecked: LocalChannel[] = []
    for (const batch of chunks(streams, BATCH_CHANNELS)) {
      if (this.hasStopped) return []
      const tops = await Promise.allSettled(batch.map((channel) => this.findMissing(channel)))
      for (const [index, channel] of batch.entries()) {
        const top = tops[index]
        if (top?.status === 'rejected') {
          if (!(top.reason instanceof BrokerError)) throw top.reason
          unchecked.push(channel)
        } else if (top?.value !== undefined) await this.startCatchingUp(channel, top.value)
      }
    }
    return unchecked
  }

  /**
   * Resolves with the top of the stream where the channel has to catch up with it. Begins a repair where the stream has
   * another epoch or the local position is above the top.
   */
  private async findMissing(channel: LocalChannel): Promise<StreamPosition | undefined> {
    const { name, repairBuffer, position } = channel
    const { metaTtlMs } = channel.rules
    if (metaTtlMs === undefined || repairBuffer !== undefined || subscriberCount(channel) === 0)
      return undefined
    const query = { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs }
    const { position: top } = await this.broker.history(name, query)
    // No publication that is on its way leads into another epoch without a repair.
    if (channel.position !== undefined && channel.position.epoch !== top.epoch) this.repair.begin(channel)
    else if (!hasReached(channel.position, top)) return top
    // A position that was delivered before the stream was read can be above its top only if it was forged.
    else if (isAhead(position, top)) this.repair.begin(channel)
    return undefined
  }

  /** Does not wait for the end of it: a stream that cannot be read must not keep other channels from being checked. */
  private async startCatchingUp(channel: LocalChannel, top: StreamPosition): Promise<void> {
    if (this.catchingUp >= MAX_CATCHING_UP) {
      await new Promise<void>((resolve) => {
        this.onCaughtUp = resolve
      })
    }
    // Both may have changed while the round waited.
    if (hasReached(channel.position, top) || subscriberCount(channel) === 0) return
    this.catchingUp++
    void this.repair.catchUp(channel, top).then(() => {
      this.catchingUp--
      this.onCaughtUp?.()
      this.onCaughtUp = undefined
    })
  }
}
