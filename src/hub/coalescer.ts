import type { ChannelEvent } from '../broker/broker.js'
import type { Metrics } from '../metrics/metrics.js'
import type { LocalChannel } from './local-channel.js'
import type { LoopLoad } from './loop-load.js'
import { copyOf } from './publication-buffer.js'

/** What may wait in a channel. The transport sends no more than that at once, so that more would save nothing. */
const MAX_WAITING_EVENTS = 32
const MAX_WAITING_BYTES = 16 * 1024

/** Events that are delivered together. */
export interface Waiting {
  readonly events: ChannelEvent[]
  bytes: number
  readonly timer: NodeJS.Timeout
}

/** Delivers events of a channel, in their order. */
export type Deliver = (channel: LocalChannel, events: readonly ChannelEvent[], nowMs: number) => void

/**
 * Keeps deliveries in a channel apart, so that what comes in between leaves together. To send something to a member is
 * nearly all that a delivery costs, and two publications that leave at once cost one send. The first after a pause never
 * waits; those that follow it sooner than the delay do: where the namespace says so, and everywhere while the node is busy.
 */
export class Coalescer {
  constructor(
    private readonly load: Pick<LoopLoad, 'isBusy'>,
    private readonly busyDelayMs: number,
    private readonly metrics: Metrics,
    private readonly deliver: Deliver,
    /** Told of defects. */
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Delivers them now, or when what waits in the channel is due. */
  take(channel: LocalChannel, events: readonly ChannelEvent[]): void {
    if (channel.waiting === undefined) {
      const nowMs = performance.now()
      const sinceMs = nowMs - channel.deliveredAtMs
      const delayMs = this.delayMs(channel, sinceMs, nowMs)
      if (sinceMs >= delayMs) {
        channel.deliveredAtMs = nowMs
        this.deliver(channel, events, nowMs)
        return
      }
      const timer = setTimeout(() => this.due(channel), delayMs - sinceMs)
      channel.waiting = { events: [], bytes: 0, timer }
    }
    const { waiting } = channel
    for (const event of events) this.keep(waiting, event)
    if (waiting.events.length >= MAX_WAITING_EVENTS || waiting.bytes >= MAX_WAITING_BYTES) this.flush(channel)
  }

  /** Delivers what waits, now. */
  flush(channel: LocalChannel): void {
    const { waiting } = channel
    if (waiting === undefined) return
    clearTimeout(waiting.timer)
    channel.waiting = undefined
    channel.deliveredAtMs = performance.now()
    this.deliver(channel, waiting.events, channel.deliveredAtMs)
  }

  /** The least time between two deliveries. */
  private delayMs({ rules }: LocalChannel, sinceMs: number, nowMs: number): number {
    const { deliveryDelayMs } = rules
    if (sinceMs >= this.busyDelayMs || deliveryDelayMs >= this.busyDelayMs) return deliveryDelayMs
    return this.load.isBusy(nowMs) ? this.busyDelayMs : deliveryDelayMs
  }

  private keep(waiting: Waiting, event: ChannelEvent): void {
    if (event.type !== 'publication') {
      waiting.events.push(event)
      return
    }
    waiting.events.push(copyOf(event))
    waiting.bytes += event.data.byteLength
    this.metrics.delayedPublications.value++
  }

  private due(channel: LocalChannel): void {
    try {
      this.flush(channel)
    } catch (error) {
      this.failed(error)
    }
  }
}
