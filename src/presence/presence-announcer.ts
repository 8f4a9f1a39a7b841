import type { Broker } from '../broker/broker.js'
import type { Logger } from '../log.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { PresenceEvent } from '../protocol/publication.js'
import type { PresenceChange, PresenceStore } from './presence-store.js'

/** A namespace's options for the presence of its channels. */
export interface PresenceRules {
  /** Whether the presence store keeps the channel's clients. */
  readonly presence: boolean
  /** Whether joins and leaves are published. */
  readonly joinLeave: boolean
}

/** A client's presence in one channel, while it is being written. */
interface PendingPresence {
  /** The state that was written last, or is being written: the client's info; undefined: not in the channel. */
  written: ClientInfo | undefined
  /** The state to write next, unless it equals `written`. */
  wanted: ClientInfo | undefined
  /** Number of joins and leaves that this stands for, including those that needed no write. */
  changes: number
  done: Promise<void>
}

/** A client whose presence in some channels is being written. */
interface PendingClient {
  readonly channels: Map<string, PendingPresence>
  /** Number of joins and leaves in all of these channels. */
  changes: number
  /** Resolves once fewer changes are pending; undefined while no session waits for that. */
  belowLimit: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined
}

/**
 * Writes joins and leaves to the presence store, and publishes them to the channel.
 *
 * A leave never overtakes its join. For each channel and client one write is in progress and at most one waits. A leave
 * and a rejoin during one write are not written at all, since they end in the state that they began with. So a client
 * that joins and leaves without pause costs no more writes than the relay completes.
 */
export class PresenceAnnouncer {
  private readonly pending = new Map<string, PendingClient>()

  constructor(
    private readonly store: PresenceStore,
    private readonly broker: Broker,
    private readonly log: Logger,
    /** Joins and leaves of one client that may be pending; beyond them its session has to wait. */
    private readonly maxChangesPerClient: number,
  ) {}

  joined(channel: string, info: ClientInfo, rules: PresenceRules): void {
    this.change(channel, info, 'join', rules)
  }

  left(channel: string, info: ClientInfo, rules: PresenceRules): void {
    this.change(channel, info, 'leave', rules)
  }

  /** Publishes a change that the presence store has found itself. Logs failures; never rejects. */
  async report({ type, channel, info, online }: PresenceChange): Promise<void> {
    await this.broker
      .publish(channel, { type, info, online })
      .catch((error: unknown) => this.logFailure(error))
  }

  /** Number of pairs of a client and a channel whose presence is being written. */
  get pendingCount(): number {
    let count = 0
    for (const { channels } of this.pending.values()) count += channels.size
    return count
  }

  /** Resolves once this client's pending writes in the channel are done. Returns undefined where there are none. */
  pendingWrites(channel: string, client: string): Promise<void> | undefined {
    return this.pending.get(client)?.channels.get(channel)?.done
  }

  /**
   * Resolves once the client has fewer changes pending than its limit; the caller checks again then. Returns undefined
   * where the client is below its limit now.
   */
  whenBelowLimit(client: string): Promise<void> | undefined {
    const pending = this.pending.get(client)
    if (pending === undefined || pending.changes < this.maxChangesPerClient) return undefined
    if (pending.belowLimit === undefined) {
      let resolve = (): void => undefined
      const promise = new Promise<void>((resolvePromise) => {
        resolve = resolvePromise
      })
      pending.belowLimit = { promise, resolve }
    }
    return pending.belowLimit.promise
  }

  /** Resolves once every write that is pending now has succeeded or failed. */
  async settled(): Promise<void> {
    const clients = [...this.pending.values()]
    await Promise.all(clients.flatMap(({ channels }) => [...channels.values()].map(({ done }) => done)))
  }

  private change(channel: string, info: ClientInfo, type: PresenceEvent['type'], rules: PresenceRules): void {
    if (!rules.presence && !rules.joinLeave) return
    const client = this.pending.get(info.client) ?? { channels: new Map(), changes: 0, belowLimit: undefined }
    const wanted = type === 'join' ? info : undefined
    const known = client.channels.get(channel)
    client.changes++
    if (known !== undefined) {
      known.wanted = wanted
      known.changes++
      return
    }
    const written = type === 'join' ? undefined : info
    const pending: PendingPresence = { written, wanted, changes: 1, done: Promise.resolve() }
    this.pending.set(info.client, client)
    client.channels.set(channel, pending)
    pending.done = this.writeWanted(channel, info.client, pending, rules)
  }

  /** Writes until the written state is the wanted one. Never rejects. */
  private async writeWanted(
    channel: string,
    client: string,
    pending: PendingPresence,
    rules: PresenceRules,
  ): Promise<void> {
    while (!isSame(pending.written, pending.wanted)) {
      const { written, wanted } = pending
      if (written !== undefined) {
        // Also for a client that rejoined with another info: the channel received a join with the old one.
        pending.written = undefined
        await this.write('leave', channel, written, rules)
      } else if (wanted !== undefined) {
        pending.written = wanted
        await this.write('join', channel, wanted, rules)
      }
    }
    // In the same tick as the comparison, so that no change is lost: the next one starts a new write.
    this.removePending(channel, client, pending)
  }

  /** Writes one join or leave, and publishes it. Logs failures; never rejects. */
  private async write(
    type: PresenceEvent['type'],
    channel: string,
    info: ClientInfo,
    { presence, joinLeave }: PresenceRules,
  ): Promise<void> {
    try {
      let online: number | undefined
      if (presence) {
        online = await (type === 'join' ? this.store.add(channel, info) : this.store.remove(channel, info))
      }
      if (joinLeave) await this.broker.publish(channel, { type, info, online })
    } catch (error) {
      this.logFailure(error)
    }
  }

  private removePending(channel: string, client: string, { changes }: PendingPresence): void {
    const pending = this.pending.get(client)
    if (pending === undefined) return
    pending.channels.delete(channel)
    pending.changes -= changes
    if (pending.channels.size === 0) this.pending.delete(client)
    if (pending.changes >= this.maxChangesPerClient) return
    pending.belowLimit?.resolve()
    pending.belowLimit = undefined
  }

  private logFailure(error: unknown): void {
    // A BrokerError is reported where Redis refuses: see RedisHealth.
    if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'presence failed')
  }
}

function isSame(written: ClientInfo | undefined, wanted: ClientInfo | undefined): boolean {
  if (written === undefined || wanted === undefined) return written === wanted
  return (
    written.user === wanted.user &&
    written.connInfo === wanted.connInfo &&
    written.chanInfo === wanted.chanInfo
  )
}
