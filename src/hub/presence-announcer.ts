import { type Broker, BrokerError } from '../broker/broker.js'
import type { Logger } from '../log.js'
import type { PresenceStore } from '../presence/presence-store.js'

/** Keeps presence, and tells a channel who comes and goes. */
export class PresenceAnnouncer {
  constructor(
    private readonly store: PresenceStore,
    private readonly broker: Broker,
    private readonly log: Logger,
  ) {}

  joined(channel: string, client: string, user: string): void {
    this.announce('join', channel, client, user, this.store.add(channel, client, user))
  }

  left(channel: string, client: string, user: string): void {
    this.announce('leave', channel, client, user, this.store.remove(channel, client))
  }

  private announce(
    type: 'join' | 'leave',
    channel: string,
    client: string,
    user: string,
    counted: Promise<number>,
  ): void {
    counted
      .then((online) => this.broker.publish(channel, { type, client, user, online }))
      .catch((error: unknown) => {
        // While the relay is down nobody can be told; its own log lines say that it is.
        if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'presence failed')
      })
  }
}
