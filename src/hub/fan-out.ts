import type { Metrics } from '../metrics/metrics.js'
import type { PresenceEvent, Publication } from '../protocol/publication.js'
import type { Socket } from '../transport/transport.js'
import type { Codec, LocalChannel } from './local-channel.js'
import type { LoopLoad } from './loop-load.js'
import { presencePush, publicationPush } from './pushes.js'

/** Characters of pushes that are kept for one frame. */
const MAX_FRAME_LENGTH = 64 * 1024
/** What may wait for a delayed delivery, of each codec: about as much as the transport sends at once, so that more saves nothing. */
const MAX_DELAYED = 32
const MAX_DELAYED_LENGTH = 16 * 1024

const WATCHERS = { join: 'joinWatchers', leave: 'leaveWatchers' } as const

/** Sends a frame to everybody in a topic; the transport's. */
export type PublishToTopic = (topic: string, data: Uint8Array, isBinary: boolean) => void

/** The transport's topics: who is in one gets what is published to it. */
export const topics = {
  data: (codec: Codec, channel: string) => `${codec}:data:${channel}`,
  join: (codec: Codec, channel: string) => `${codec}:join:${channel}`,
  leave: (codec: Codec, channel: string) => `${codec}:leave:${channel}`,
}

/** Somebody in a channel who must not get a publication. */
export interface Excluded {
  readonly codec: Codec
  /** Undefined once it is closed. */
  readonly socket: Socket | undefined
}

/** A publication that raw members get later. */
export interface RawFrame {
  readonly data: Uint8Array
  readonly isBinary: boolean
  readonly excluded: Excluded | undefined
}

export interface DelayedDelivery {
  readonly timer: NodeJS.Timeout
  /** By the monotonic clock. */
  readonly dueAtMs: number
}

/**
 * Hands what is said in channels to the transport: once for each codec, whatever the number of members.
 *
 * Nearly all that a delivery costs is one send to each member, and publications that leave together cost one. So where
 * the namespace says so, and everywhere while the node is busy, deliveries in a channel are kept apart: the first after
 * a pause leaves at once, and what is said before the delay is over leaves together when it is.
 */
export class FanOut {
  /** Channels with pushes that leave at the end of the tick. */
  private unflushed: LocalChannel[] = []

  constructor(
    private readonly publishToTopic: PublishToTopic,
    private readonly metrics: Metrics,
    private readonly load: Pick<LoopLoad, 'isBusy'>,
    /** The least time between two deliveries in a channel while the node is busy. */
    private readonly busyDelayMs: number,
  ) {}

  /** What comes with the same time, by the monotonic clock, leaves together. */
  publication(
    channel: LocalChannel,
    publication: Publication,
    excluded: Excluded | undefined,
    nowMs: number,
  ): void {
    if (channel.raw.members + channel.json.members === 0) return
    this.keepApart(channel, nowMs)
    if (channel.raw.members > 0) this.deliverRaw(channel, publication, excluded)
    if (channel.json.members > 0) this.deliverJson(channel, publication, excluded)
    if (channel.delayed === undefined) return
    this.metrics.delayedPublications.value++
    const count = Math.max(channel.frames.length, channel.pushes.length)
    const length = Math.max(channel.framesLength, channel.pushesLength)
    if (count >= MAX_DELAYED || length >= MAX_DELAYED_LENGTH) this.flush(channel)
  }

  /** Delays what is delivered now, if the latest delivery was too short a time ago. */
  private keepApart(channel: LocalChannel, nowMs: number): void {
    const sinceMs = nowMs - channel.deliveredAtMs
    if (channel.delayed !== undefined || sinceMs === 0) return
    const waitMs = this.delayMs(channel, nowMs) - sinceMs
    if (waitMs <= 0) {
      channel.deliveredAtMs = nowMs
      return
    }
    // Members keep the process up; what waits for nobody need not.
    const timer = setTimeout(() => this.flush(channel), waitMs).unref()
    channel.delayed = { timer, dueAtMs: nowMs + waitMs }
  }

  private delayMs({ rules: { deliveryDelayMs } }: LocalChannel, nowMs: number): number {
    if (deliveryDelayMs >= this.busyDelayMs) return deliveryDelayMs
    return this.load.isBusy(nowMs) ? this.busyDelayMs : deliveryDelayMs
  }

  private deliverRaw(
    channel: LocalChannel,
    { data, isBinary }: Publication,
    excluded: Excluded | undefined,
  ): void {
    const receivers = channel.raw.members - (excluded?.codec === 'raw' ? 1 : 0)
    if (channel.delayed !== undefined) {
      // The broker takes its buffer back.
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
    if (except === undefined) this.publishToTopic(topic, data, isBinary)
    else except.publish(topic, data, isBinary)
  }

  private deliverJson(channel: LocalChannel, publication: Publication, excluded: Excluded | undefined): void {
    const push = publicationPush(channel.name, publication)
    let receivers = channel.json.members
    if (excluded?.codec === 'json') {
      receivers--
      this.flush(channel)
      excluded.socket?.publish(topics.data('json', channel.name), Buffer.from(push), false)
    } else {
      if (channel.pushesLength + push.length > MAX_FRAME_LENGTH) this.flush(channel)
      if (channel.pushes.length === 0 && channel.delayed === undefined) this.flushSoon(channel)
      channel.pushes.push(push)
      channel.pushesLength += push.length
    }
    this.metrics.deliveries.centrifuge.value += receivers
    this.metrics.deliveredBytes.centrifuge.value += receivers * publication.data.byteLength
  }

  /** Whether anybody in the channel watches for joins, or leaves. */
  hears({ raw, json }: LocalChannel, type: PresenceEvent['type']): boolean {
    const watchers = WATCHERS[type]
    return raw[watchers] + json[watchers] > 0
  }

  presence(channel: LocalChannel, event: PresenceEvent): void {
    const { type, info, online } = event
    const watchers = WATCHERS[type]
    if (channel.raw[watchers] > 0) {
      this.flush(channel)
      const frame = JSON.stringify({ event: type, client: info.client, user: info.user, online })
      this.publishToTopic(topics[type]('raw', channel.name), Buffer.from(frame), false)
    }
    if (channel.json[watchers] > 0) {
      this.flush(channel)
      const push = presencePush(channel.name, event)
      this.publishToTopic(topics[type]('json', channel.name), Buffer.from(push), false)
    }
  }

  /** All pushes of one tick leave as one frame of lines. */
  private flushSoon(channel: LocalChannel): void {
    if (this.unflushed.length === 0) {
      setImmediate(() => {
        const channels = this.unflushed
        this.unflushed = []
        for (const unflushed of channels) this.flush(unflushed)
      })
    }
    this.unflushed.push(channel)
  }

  /** Sends what is kept for the end of the tick or of a delay. */
  flush(channel: LocalChannel): void {
    const { pushes, frames, delayed } = channel
    if (delayed !== undefined) {
      clearTimeout(delayed.timer)
      channel.delayed = undefined
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
    this.publishToTopic(topics.data('json', channel.name), Buffer.from(pushes.join('\n')), false)
  }
}
