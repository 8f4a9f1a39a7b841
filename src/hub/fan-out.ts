import type { Codec } from '../connection/connection.js'
import type { Metrics } from '../metrics/metrics.js'
import type { PresenceEvent, Publication } from '../protocol/publication.js'
import { presencePush, publicationPush } from '../protocol/pushes.js'
import type { EventLoopLoad } from './event-loop-load.js'
import {
  type ExcludedSubscriber,
  type LocalChannel,
  type RawFrame,
  subscriberCount,
} from './local-channel.js'

/** Characters of pushes in one frame. */
const MAX_FRAME_LENGTH = 64 * 1024
/** What may wait for a delayed delivery, per codec: about as much as the transport sends in one write, so that more saves nothing. */
const MAX_DELAYED = 32
const MAX_DELAYED_LENGTH = 16 * 1024

const WATCHERS = { join: 'joinWatchers', leave: 'leaveWatchers' } as const

/** Sends a frame to all sockets that are subscribed to a topic of the transport. */
export type BroadcastToTopic = (topic: string, data: Uint8Array, isBinary: boolean) => void

/** Names of the transport's topics. */
export const topics = {
  data: (codec: Codec, channel: string) => `${codec}:data:${channel}`,
  join: (codec: Codec, channel: string) => `${codec}:join:${channel}`,
  leave: (codec: Codec, channel: string) => `${codec}:leave:${channel}`,
}

/**
 * Broadcasts the events of channels through the transport: once for each codec, whatever the number of subscribers.
 *
 * Nearly all of a delivery's cost is one send to each subscriber, and publications that leave together cost one. So where
 * the namespace asks for it, and everywhere while the node is busy, deliveries in a channel keep a distance: the first
 * after a pause leaves at once, and publications that arrive before the delay is over leave together when it is.
 */
export class FanOut {
  /** Channels with pushes that leave at the end of the tick. */
  private unflushed: LocalChannel[] = []

  constructor(
    private readonly broadcastToTopic: BroadcastToTopic,
    private readonly metrics: Metrics,
    private readonly load: Pick<EventLoopLoad, 'isBusy'>,
    /** The least time between two deliveries in a channel while the node is busy. */
    private readonly busyDelayMs: number,
  ) {}

  /** Publications with the same time, by the monotonic clock, leave together. */
  broadcastPublication(
    channel: LocalChannel,
    publication: Publication,
    excluded: ExcludedSubscriber | undefined,
    nowMs: number,
  ): void {
    if (subscriberCount(channel) === 0) return
    this.delayIfRecent(channel, nowMs)
    if (channel.raw.subscribers > 0) this.broadcastRaw(channel, publication, excluded)
    if (channel.json.subscribers > 0) this.broadcastJson(channel, publication, excluded)
    if (channel.delayedDelivery === undefined) return
    this.metrics.delayedPublications.value++
    const count = Math.max(channel.frames.length, channel.pushes.length)
    const length = Math.max(channel.framesLength, channel.pushesLength)
    if (count >= MAX_DELAYED || length >= MAX_DELAYED_LENGTH) this.flush(channel)
  }

  /** Delays this delivery if the latest one was too short a time ago. */
  private delayIfRecent(channel: LocalChannel, nowMs: number): void {
    const sinceMs = nowMs - channel.deliveredAtMs
    if (channel.delayedDelivery !== undefined || sinceMs === 0) return
    const waitMs = this.delayMs(channel, nowMs) - sinceMs
    if (waitMs <= 0) {
      channel.deliveredAtMs = nowMs
      return
    }
    // Open connections keep the process running; without any this delivery need not.
    const timer = setTimeout(() => this.flush(channel), waitMs).unref()
    channel.delayedDelivery = { timer, dueAtMs: nowMs + waitMs }
  }

  private delayMs({ rules: { deliveryDelayMs } }: LocalChannel, nowMs: number): number {
    if (deliveryDelayMs >= this.busyDelayMs) return deliveryDelayMs
    return this.load.isBusy(nowMs) ? this.busyDelayMs : deliveryDelayMs
  }

  private broadcastRaw(
    channel: LocalChannel,
    { data, isBinary }: Publication,
    excluded: ExcludedSubscriber | undefined,
  ): void {
    const receivers = channel.raw.subscribers - (excluded?.codec === 'raw' ? 1 : 0)
    if (channel.delayedDelivery !== undefined) {
      // A copy: the broker reuses its buffer.
      channel.frames.push({ data: Buffer.from(data), isBinary, excluded })
      channel.framesLength += data.byteLength
    } else {
      this.sendRaw(channel, { data, isBinary, excluded })
    }
    this.metrics.deliveries.raw.value += receivers
    this.metrics.deliveredBytes.raw.value += receivers * data.byteLength
  }

  private sendRaw({ name }: LocalChannel, { data, isBinary, excluded }: RawFrame): void {
    const topic = topics.data('raw', name)
    const except = excluded?.codec === 'raw' ? excluded.socket : undefined
    if (except === undefined) this.broadcastToTopic(topic, data, isBinary)
    else except.broadcastToOthers(topic, data, isBinary)
  }

  private broadcastJson(
    channel: LocalChannel,
    publication: Publication,
    excluded: ExcludedSubscriber | undefined,
  ): void {
    const push = publicationPush(channel.name, publication)
    let receivers = channel.json.subscribers
    if (excluded?.codec === 'json') {
      receivers--
      this.flush(channel)
      excluded.socket?.broadcastToOthers(topics.data('json', channel.name), Buffer.from(push), false)
    } else {
      if (channel.pushesLength + push.length > MAX_FRAME_LENGTH) this.flush(channel)
      if (channel.pushes.length === 0 && channel.delayedDelivery === undefined) this.scheduleFlush(channel)
      channel.pushes.push(push)
      channel.pushesLength += push.length
    }
    this.metrics.deliveries.centrifuge.value += receivers
    this.metrics.deliveredBytes.centrifuge.value += receivers * publication.data.byteLength
  }

  /** Whether a subscriber of the channel watches joins, or leaves. */
  hasPresenceWatchers({ raw, json }: LocalChannel, type: PresenceEvent['type']): boolean {
    const watchers = WATCHERS[type]
    return raw[watchers] + json[watchers] > 0
  }

  broadcastPresence(channel: LocalChannel, event: PresenceEvent): void {
    const { type, info, online } = event
    const watchers = WATCHERS[type]
    if (channel.raw[watchers] > 0) {
      this.flush(channel)
      const frame = JSON.stringify({ event: type, client: info.client, user: info.user, online })
      this.broadcastToTopic(topics[type]('raw', channel.name), Buffer.from(frame), false)
    }
    if (channel.json[watchers] > 0) {
      this.flush(channel)
      const push = presencePush(channel.name, event)
      this.broadcastToTopic(topics[type]('json', channel.name), Buffer.from(push), false)
    }
  }

  /** All pushes of one tick leave as one frame of lines. */
  private scheduleFlush(channel: LocalChannel): void {
    if (this.unflushed.length === 0) {
      setImmediate(() => {
        const channels = this.unflushed
        this.unflushed = []
        for (const unflushed of channels) this.flush(unflushed)
      })
    }
    this.unflushed.push(channel)
  }

  /** Sends what waits for the end of the tick or of a delay. */
  flush(channel: LocalChannel): void {
    const { pushes, frames, delayedDelivery } = channel
    if (delayedDelivery !== undefined) {
      clearTimeout(delayedDelivery.timer)
      channel.delayedDelivery = undefined
      channel.deliveredAtMs = performance.now()
    }
    if (frames.length > 0) {
      channel.frames = []
      channel.framesLength = 0
      for (const frame of frames) this.sendRaw(channel, frame)
    }
    if (pushes.length === 0) return
    channel.pushes = []
    channel.pushesLength = 0
    this.broadcastToTopic(topics.data('json', channel.name), Buffer.from(pushes.join('\n')), false)
  }
}
