import type { Broker } from '../broker/broker.js'
import type { Logger } from '../log.js'
import type { PresenceChange, PresenceStore } from '../presence/presence-store.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'

/** What a channel's namespace wants of those who come and go. */
export interface Announcement {
  /** Whether it is kept who is there. */
  readonly presence: boolean
  /** Whether joins and leaves are published. */
  readonly joinLeave: boolean
}

/** Keeps presence, and tells a channel who comes and goes. */
export class PresenceAnnouncer {
  /** What is under way, by channel and client: a leave must not overtake its join. At most two for each subscription. */
  private readonly pending = new Map<string, Promise<void>>()

  constructor(
    private readonly store: PresenceStore,
    private readonly broker: Broker,
    private readonly log: Logger,
  ) {}

  joined(channel: string, info: ClientInfo, announcement: Announcement): void {
    this.inTurn('join', channel, info, announcement)
  }

  left(channel: string, info: ClientInfo, announcement: Announcement): void {
    this.inTurn('leave', channel, info, announcement)
  }

  /** Tells a channel of a change that the store has found. Never rejects. */
  async report({ type, channel, info, online }: PresenceChange): Promise<void> {
    await this.broker.publish(channel, { type, info, online }).catch((error: unknown) => this.failed(error))
  }

  /** Resolves once what was under way of this client in the channel is done; nothing where nothing is. */
  turnOf(channel: string, client: string): Promise<void> | undefined {
    return this.pending.get(keyOf(channel, client))
  }

  /** Resolves once everything that was under way when it was called is done or given up. */
  async settled(): Promise<void> {
    await Promise.all(this.pending.values())
  }

  private inTurn(
    type: 'join' | 'leave',
    channel: string,
    info: ClientInfo,
    announcement: Announcement,
  ): void {
    if (!announcement.presence && !announcement.joinLeave) return
    const key = keyOf(channel, info.client)
    const done = this.announce(this.pending.get(key), type, channel, info, announcement).then(() => {
      if (this.pending.get(key) === done) this.pending.delete(key)
    })
    this.pending.set(key, done)
  }

  /** Never rejects. */
  private async announce(
    before: Promise<void> | undefined,
    type: 'join' | 'leave',
    channel: string,
    info: ClientInfo,
    { presence, joinLeave }: Announcement,
  ): Promise<void> {
    if (before !== undefined) await before
    try {
      let online: number | undefined
      if (presence) {
        online = await (type === 'join' ? this.store.add(channel, info) : this.store.remove(channel, info))
      }
      if (joinLeave) await this.broker.publish(channel, { type, info, online })
    } catch (error) {
      this.failed(error)
    }
  }

  private failed(error: unknown): void {
    // While the relay is down nobody can be told; its own log lines say that it is.
    if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'presence failed')
  }
}

function keyOf(channel: string, client: string): string {
  // A client's id has no space in it.
  return `${client} ${channel}`
}
