import type { Broker, KnownPosition } from '../broker/broker.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { GapRepair } from './gap-repair.js'
import { hasReached, isAhead, type LocalChannel, subscriberCount } from './local-channel.js'

/** Time between two rounds. A gap that no later publication shows is repaired within 5 s. */
const ROUND_INTERVAL_MS = 4_500
/** Time over which a round spreads its batches, so that very many channels are no burst. */
const ROUND_MS = 4_000
/** Channels that are checked at once. */
const BATCH_CHANNELS = 100
/** Channels that are repaired, or catch up, at once: each of them may read a page of its stream. */
const MAX_REPAIRS = 50
const RETRY_MS = 250
/** Channels that are tried again in a millisecond, at most. */
const UNAVAILABLE_PER_MS = 50

/**
 * Compares what was delivered with the streams themselves: a lost publication that no other follows shows nowhere else.
 */
export class GapDetector {
  private round: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  /** Channels to check now, since the relay may have lost events of any of them. */
  private readonly due = new Set<LocalChannel>()
  /** Channels that could not be checked, to be tried again. */
  private readonly unavailable = new Set<LocalChannel>()
  private unavailableBefore = 0
  /** Channels of this round that are not checked yet, and the time between two batches of them. */
  private roundChannels: readonly LocalChannel[] = []
  private roundPauseMs = 0
  private isRunning = false
  private hasStopped = false
  private repairs = 0
  /** Set while the detector waits until there is one repair less. */
  private onRepaired: (() => void) | undefined
  /** Set while it pauses between two batches of a round. */
  private endPause: (() => void) | undefined

  constructor(
    private readonly channels: () => IterableIterator<LocalChannel>,
    private readonly broker: Broker,
    private readonly repair: GapRepair,
    /** Called with an error that no code expects. */
    private readonly onDefect: (error: unknown) => void,
  ) {}

  start(): void {
    this.round = setInterval(() => this.beginRound(), ROUND_INTERVAL_MS)
  }

  stop(): void {
    this.hasStopped = true
    clearInterval(this.round)
    clearTimeout(this.retry)
    this.endPause?.()
  }

  /** Checks channels before all others, each until that has succeeded once. */
  check(channels: Iterable<LocalChannel>): void {
    for (const channel of channels) this.due.add(channel)
    this.endPause?.()
    this.run()
  }

  /** A round that takes longer than the interval goes on instead. */
  private beginRound(): void {
    if (this.roundChannels.length > 0) return
    this.roundChannels = [...this.channels()].filter(isFollowed)
    const batches = Math.ceil(this.roundChannels.length / BATCH_CHANNELS)
    this.roundPauseMs = batches > 1 ? ROUND_MS / batches : 0
    this.run()
  }

  private run(): void {
    if (this.isRunning || this.hasStopped) return
    this.isRunning = true
    this.checkBatches()
      .catch((error: unknown) => this.onDefect(error))
      .finally(() => {
        this.isRunning = false
      })
  }

  private async checkBatches(): Promise<void> {
    while (!this.hasStopped) {
      if (this.due.size > 0) await this.checkBatch(this.takeDue())
      else if (this.roundChannels.length > 0) {
        const batch = this.roundChannels.slice(0, BATCH_CHANNELS)
        this.roundChannels = this.roundChannels.slice(BATCH_CHANNELS)
        await this.checkBatch(batch)
        if (this.roundChannels.length > 0 && this.due.size === 0) await this.pause(this.roundPauseMs)
      } else return
    }
  }

  private takeDue(): LocalChannel[] {
    const batch: LocalChannel[] = []
    for (const channel of this.due) {
      this.due.delete(channel)
      if (isFollowed(channel)) batch.push(channel)
      if (batch.length === BATCH_CHANNELS) break
    }
    return batch
  }

  private async checkBatch(batch: readonly LocalChannel[]): Promise<void> {
    const queries = batch.map(({ name, rules }) => ({ channel: name, metaTtlMs: rules.metaTtlMs ?? 1 }))
    const before = batch.map(({ position }) => position)
    const tops = await this.broker.positions(queries)
    for (const [index, channel] of batch.entries()) {
      const top = tops[index]
      if (top === undefined || top === 'unavailable') this.tryAgain(channel)
      else if (isFollowed(channel)) await this.compare(channel, before[index], top)
      if (this.hasStopped) return
    }
    // A broker that cannot reach Redis may answer at once, and other work must have its turn.
    await new Promise(setImmediate)
  }

  /** @param before the position of the channel before the stream was read: what came since may be above its top */
  private async compare(
    channel: LocalChannel,
    before: StreamPosition | undefined,
    top: KnownPosition,
  ): Promise<void> {
    if (lacksSome(channel, before, top)) await this.startRepair(channel, before, top)
  }

  private tryAgain(channel: LocalChannel): void {
    this.unavailable.add(channel)
    this.retry ??= setTimeout(
      () => {
        this.retry = undefined
        const channels = [...this.unavailable]
        this.unavailableBefore = channels.length
        this.unavailable.clear()
        this.check(channels)
      },
      Math.max(RETRY_MS, this.unavailableBefore / UNAVAILABLE_PER_MS),
    )
  }

  /** Does not wait for the end of it: a stream that cannot be read must not keep other channels from being checked. */
  private async startRepair(
    channel: LocalChannel,
    before: StreamPosition | undefined,
    top: KnownPosition,
  ): Promise<void> {
    if (this.repairs >= MAX_REPAIRS) {
      await new Promise<void>((resolve) => {
        this.onRepaired = resolve
      })
      // All of this may have changed while the detector waited.
      if (!isFollowed(channel) || !lacksSome(channel, before, top)) return
    }
    this.repairs++
    void this.repairTo(channel, before, top)
      .catch((error: unknown) => {
        if (error instanceof BrokerError) this.tryAgain(channel)
        else this.onDefect(error)
      })
      .finally(() => {
        this.repairs--
        this.onRepaired?.()
        this.onRepaired = undefined
      })
  }

  private async repairTo(
    channel: LocalChannel,
    before: StreamPosition | undefined,
    top: KnownPosition,
  ): Promise<void> {
    if (top !== 'none') {
      // A publication that is on its way may close the gap, but none leads into another epoch, or back.
      const isBehind = hasEpochOf(channel, top) && !isAhead(before, top)
      await (isBehind ? this.repair.catchUp(channel, top) : this.repair.begin(channel))
    } else if (channel.position !== undefined) await this.repair.begin(channel)
    else {
      // Without a position, the loss of its first publication would go unnoticed.
      const { position } = await this.broker.history(channel.name, {
        limit: 0,
        sinceOffset: undefined,
        isReverse: false,
        metaTtlMs: channel.rules.metaTtlMs ?? 1,
      })
      await this.repair.catchUp(channel, position)
    }
  }

  private pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.endPause?.(), delayMs)
      this.endPause = () => {
        clearTimeout(timer)
        this.endPause = undefined
        resolve()
      }
    })
  }
}

/** Whether there is anything to compare: a stream, and subscribers that no repair is under way for. */
function isFollowed(channel: LocalChannel): boolean {
  return (
    channel.rules.metaTtlMs !== undefined &&
    channel.repairBuffer === undefined &&
    subscriberCount(channel) > 0
  )
}

function hasEpochOf({ position }: LocalChannel, top: Exclude<KnownPosition, 'none'>): boolean {
  return position === undefined || position.epoch === top.epoch
}

/**
 * Whether a stream has what was not delivered, is another one, or is missing. A position that was delivered before the stream was read
 * can be above its top only if it was forged.
 */
function lacksSome(
  { position }: LocalChannel,
  before: StreamPosition | undefined,
  top: KnownPosition,
): boolean {
  if (top === 'none') return true
  return !hasReached(position, top) || isAhead(before, top)
}
