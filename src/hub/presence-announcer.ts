import { type Broker, BrokerError } from '../broker/broker.js'
import type { Logger } from '../log.js'
import type { PresenceStore } from '../presence/presence-store.js'
import type { ClientInfo } from '../protocol/client-info.js'

/** Keeps presence, and tells a channel who comes and goes. */
export class PresenceAnnouncer {
  constructor(
    private readonly store: PresenceStore,
    private readonly broker: Broker,
    private readonly log: Logger,
  ) {}

  joined(channel: string, info: ClientInfo): void {
    this.announce('join', channel, info, this.store.add(channel, info))
  }

  left(channel: string, info: ClientInfo): void {
    this.announce('leave', channel, info, this.store.remove(channel, info))
  }

  private announce(
    type: 'join' | 'leave',
    channel: string,
    info: ClientInfo,
    counted: Promise<number>,
  ): void {
    counted
      .then((online) => this.broker.publish(channel, { type, info, online }))
      .catch((error: unknown) => {
        // While the relay is down nobody can be told; its own log lines say that it is.
        if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'presence failed')
      })
  }
}
