import type { PresenceEvent, Publication } from '../broker/broker.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Socket } from '../transport/transport.js'
import type { Codec, LocalChannel } from './local-channel.js'
import { presencePush, publicationPush } from './pushes.js'

/** Characters of pushes that are kept for one frame. */
const MAX_FRAME_LENGTH = 64 * 1024

const WATCHERS = { join: 'joinWatchers', leave: 'leaveWatchers' } as const

/** Sends a frame to everybody in a topic; the transport's. */
export type PublishToTopic = (topic: string, data: Uint8Array | string, isBinary: boolean) => void

/** The transport's topics: who is in one gets what is published to it. */
export const topics = {
  data: (codec: Codec, channel: string) => `${codec}:data:${channel}`,
  join: (codec: Codec, channel: string) => `${codec}:join:${channel}`,
  leave: (codec: Codec, channel: string) => `${codec}:leave:${channel}`,
}

/** Somebody in a channel who must not get a publication. */
export interface Excluded {
  readonly codec: Codec
  readonly socket: Socket | undefined
}

/** Hands what is said in channels to the transport: once for each codec, whatever the number of members. */
export class FanOut {
  /** Channels with pushes that leave at the end of the tick. */
  private unflushed: LocalChannel[] = []

  constructor(
    private readonly publishToTopic: PublishToTopic,
    private readonly metrics: Metrics,
  ) {}

  publication(channel: LocalChannel, publication: Publication, excluded: Excluded | undefined): void {
    if (channel.raw.members > 0) this.deliverRaw(channel, publication, excluded)
    if (channel.json.members > 0) this.deliverJson(channel, publication, excluded)
  }

  private deliverRaw(
    channel: LocalChannel,
    { data, isBinary }: Publication,
    excluded: Excluded | undefined,
  ): void {
    const topic = topics.data('raw', channel.name)
    let receivers = channel.raw.members
    if (excluded?.codec === 'raw') {
      receivers--
      excluded.socket?.publish(topic, data, isBinary)
    } else {
      this.publishToTopic(topic, data, isBinary)
    }
    this.metrics.deliveries.raw.value += receivers
    this.metrics.deliveredBytes.raw.value += receivers * data.byteLength
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
      if (channel.pushes.length === 0) this.flushSoon(channel)
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
      const frame = JSON.stringify({ event: type, client: info.client, user: info.user, online })
      this.publishToTopic(topics[type]('raw', channel.name), frame, false)
    }
    if (channel.json[watchers] > 0) {
      this.flush(channel)
      this.publishToTopic(topics[type]('json', channel.name), presencePush(channel.name, event), false)
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

  /** Sends what is kept for the end of the tick. */
  flush(channel: LocalChannel): void {
    const { pushes } = channel
    if (pushes.length === 0) return
    channel.pushes = []
    channel.pushesLength = 0
    this.publishToTopic(topics.data('json', channel.name), Buffer.from(pushes.join('\n')), false)
  }
}
