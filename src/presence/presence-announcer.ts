import type { Broker } from '../broker/broker.js'
import type { Logger } from '../log.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { PresenceEvent } from '../protocol/publication.js'
import type { PresenceChange, PresenceStore } from './presence-store.js'

/** The options of a channel's namespace about presence. */
export interface PresenceRules {
  /** Whether the channel's clients are kept in the presence store. */
  readonly presence: boolean
  /** Whether joins and leaves are published. */
  readonly joinLeave: boolean
}

/** A client's presence in one channel that is being written to the cluster. */
interface PendingPresence {
  /** What was written last, or is being written: the client as it is in the channel; undefined: it is not. */
  written: ClientInfo | undefined
  /** What is to be written next, unless it equals `written`. */
  wanted: ClientInfo | undefined
  /** Joins and leaves that it stands for, those included that became needless. */
  changes: number
  done: Promise<void>
}

/** A client whose presence in some channels is being written. */
interface PendingClient {
  readonly channels: Map<string, PendingPresence>
  changes: number
  /** For a session that waits until the client has fewer changes pending. */
  room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined
}

/**
 * Writes joins and leaves to the presence store, and publishes them to the channel.
 *
 * A leave never overtakes its join. For each channel and client one write is in progress and at most one waits: a client
 * that leaves and rejoins while an earlier write is in progress is not written at all, since the state at the beginning
 * and at the end is the same. So a client that joins and leaves without pause costs no more than the relay takes.
 */
export class PresenceAnnouncer {
  private readonly pending = new Map<string, PendingClient>()

  constructor(
    private readonly store: PresenceStore,
    private readonly broker: Broker,
    private readonly log: Logger,
    /** Joins and leaves of one client that may be pending before its session has to wait. */
    private readonly maxChangesPerClient: number,
  ) {}

  joined(channel: string, info: ClientInfo, rules: PresenceRules): void {
    this.change(channel, info, 'join', rules)
  }

  left(channel: string, info: ClientInfo, rules: PresenceRules): void {
    this.change(channel, info, 'leave', rules)
  }

  /** Publishes a change that the presence store has found. Never rejects. */
  async report({ type, channel, info, online }: PresenceChange): Promise<void> {
    await this.broker
      .publish(channel, { type, info, online })
      .catch((error: unknown) => this.logFailure(error))
  }

  /** Number of pairs of a client and a channel that are being written. */
  get pendingCount(): number {
    let count = 0
    for (const { channels } of this.pending.values()) count += channels.size
    return count
  }

  /** Resolves once the pending writes of this client in the channel are done; undefined where there are none. */
  pendingWrites(channel: string, client: string): Promise<void> | undefined {
    return this.pending.get(client)?.channels.get(channel)?.done
  }

  /**
   * Resolves once a client may join and leave again, for the caller to ask again then; undefined where it may now.
   */
  roomFor(client: string): Promise<void> | undefined {
    const pending = this.pending.get(client)
    if (pending === undefined || pending.changes < this.maxChangesPerClient) return undefined
    if (pending.room === undefined) {
      let resolve = (): void => undefined
      const promise = new Promise<void>((resolvePromise) => {
        resolve = resolvePromise
      })
      pending.room = { promise, resolve }
    }
    return pending.room.promise
  }

  /** Resolves once everything that was pending when it was called is written or given up. */
  async settled(): Promise<void> {
    const clients = [...this.pending.values()]
    await Promise.all(clients.flatMap(({ channels }) => [...channels.values()].map(({ done }) => done)))
  }

  private change(channel: string, info: ClientInfo, type: PresenceEvent['type'], rules: PresenceRules): void {
    if (!rules.presence && !rules.joinLeave) return
    const client = this.pending.get(info.client) ?? { channels: new Map(), changes: 0, room: undefined }
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

  /** Writes until what is wanted is written. Never rejects. */
  private async writeWanted(
    channel: string,
    client: string,
    pending: PendingPresence,
    rules: PresenceRules,
  ): Promise<void> {
    while (!isSame(pending.written, pending.wanted)) {
      const { written, wanted } = pending
      if (written !== undefined) {
        // Also for a client that rejoined with another info: the channel was told of the old one.
        pending.written = undefined
        await this.write('leave', channel, written, rules)
      } else if (wanted !== undefined) {
        pending.written = wanted
        await this.write('join', channel, wanted, rules)
      }
    }
    // In the tick of the comparison, so that no change is lost: the next one begins anew.
    this.forget(channel, client, pending)
  }

  /** Never rejects. */
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

  private forget(channel: string, client: string, { changes }: PendingPresence): void {
    const pending = this.pending.get(client)
    if (pending === undefined) return
    pending.channels.delete(channel)
    pending.changes -= changes
    if (pending.channels.size === 0) this.pending.delete(client)
    if (pending.changes >= this.maxChangesPerClient) return
    pending.room?.resolve()
    pending.room = undefined
  }

  private logFailure(error: unknown): void {
    // While the relay is down no node can be told; the relay's own log lines say that it is down.
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
