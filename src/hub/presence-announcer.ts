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

/** A client's place in a channel, on its way to the cluster. */
interface PendingPlace {
  /** What the cluster was told last, or is being told: the client as it is in the channel; undefined: it is not. */
  told: ClientInfo | undefined
  /** What the cluster is told next, unless it was told the same. */
  wanted: ClientInfo | undefined
  /** Joins and leaves that it stands for, those included that became needless. */
  moves: number
  done: Promise<void>
}

/** A client whose joins or leaves are on their way. */
interface PendingClient {
  readonly places: Map<string, PendingPlace>
  moves: number
  /** Of a session that waits until the client has fewer moves under way. */
  room: { readonly made: Promise<void>; readonly make: () => void } | undefined
}

/**
 * Keeps presence, and tells a channel who comes and goes.
 *
 * A leave does not overtake its join. Of each channel and client one write is under way and one waits at most: a client
 * that leaves and comes back while the write before is under way is not told of at all, which is what was so at the
 * beginning and is so at the end. So a client that comes and goes without pause costs no more than the relay takes.
 */
export class PresenceAnnouncer {
  private readonly pending = new Map<string, PendingClient>()

  constructor(
    private readonly store: PresenceStore,
    private readonly broker: Broker,
    private readonly log: Logger,
    /** Joins and leaves of one client that may be under way before it has to wait. */
    private readonly maxMovesPerClient: number,
  ) {}

  joined(channel: string, info: ClientInfo, announcement: Announcement): void {
    this.move(channel, info, 'join', announcement)
  }

  left(channel: string, info: ClientInfo, announcement: Announcement): void {
    this.move(channel, info, 'leave', announcement)
  }

  /** Tells a channel of a change that the store has found. Never rejects. */
  async report({ type, channel, info, online }: PresenceChange): Promise<void> {
    await this.broker.publish(channel, { type, info, online }).catch((error: unknown) => this.failed(error))
  }

  /** Clients and channels of which the cluster is being told, by pairs. */
  get pendingCount(): number {
    let count = 0
    for (const { places } of this.pending.values()) count += places.size
    return count
  }

  /** Resolves once what was under way of this client in the channel is done; nothing where nothing is. */
  turnOf(channel: string, client: string): Promise<void> | undefined {
    return this.pending.get(client)?.places.get(channel)?.done
  }

  /** Resolves once a client may come and go again; nothing where it may now. To be asked again then. */
  roomFor(client: string): Promise<void> | undefined {
    const pending = this.pending.get(client)
    if (pending === undefined || pending.moves < this.maxMovesPerClient) return undefined
    if (pending.room === undefined) {
      let make = (): void => undefined
      const made = new Promise<void>((resolve) => {
        make = resolve
      })
      pending.room = { made, make }
    }
    return pending.room.made
  }

  /** Resolves once everything that was under way when it was called is done or given up. */
  async settled(): Promise<void> {
    const clients = [...this.pending.values()]
    await Promise.all(clients.flatMap(({ places }) => [...places.values()].map(({ done }) => done)))
  }

  private move(channel: string, info: ClientInfo, type: 'join' | 'leave', announcement: Announcement): void {
    if (!announcement.presence && !announcement.joinLeave) return
    const client = this.pending.get(info.client) ?? { places: new Map(), moves: 0, room: undefined }
    const wanted = type === 'join' ? info : undefined
    const known = client.places.get(channel)
    client.moves++
    if (known !== undefined) {
      known.wanted = wanted
      known.moves++
      return
    }
    const told = type === 'join' ? undefined : info
    const place: PendingPlace = { told, wanted, moves: 1, done: Promise.resolve() }
    this.pending.set(info.client, client)
    client.places.set(channel, place)
    place.done = this.tellAll(channel, info.client, place, announcement)
  }

  /** Tells the cluster what is wanted until it is told. Never rejects. */
  private async tellAll(
    channel: string,
    client: string,
    place: PendingPlace,
    announcement: Announcement,
  ): Promise<void> {
    while (!isSame(place.told, place.wanted)) {
      const { told, wanted } = place
      if (told !== undefined) {
        // Of a client that is back with another info, too: the channel was told that it is there with the old one.
        place.told = undefined
        await this.tell('leave', channel, told, announcement)
      } else if (wanted !== undefined) {
        place.told = wanted
        await this.tell('join', channel, wanted, announcement)
      }
    }
    // In the tick of the comparison, so that no move is lost: the next one begins anew.
    this.forget(channel, client, place)
  }

  /** Never rejects. */
  private async tell(
    type: 'join' | 'leave',
    channel: string,
    info: ClientInfo,
    { presence, joinLeave }: Announcement,
  ): Promise<void> {
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

  private forget(channel: string, client: string, { moves }: PendingPlace): void {
    const pending = this.pending.get(client)
    if (pending === undefined) return
    pending.places.delete(channel)
    pending.moves -= moves
    if (pending.places.size === 0) this.pending.delete(client)
    if (pending.moves >= this.maxMovesPerClient) return
    pending.room?.make()
    pending.room = undefined
  }

  private failed(error: unknown): void {
    // While the relay is down nobody can be told; its own log lines say that it is.
    if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'presence failed')
  }
}

function isSame(told: ClientInfo | undefined, wanted: ClientInfo | undefined): boolean {
  if (told === undefined || wanted === undefined) return told === wanted
  return told.user === wanted.user && told.connInfo === wanted.connInfo && told.chanInfo === wanted.chanInfo
}
