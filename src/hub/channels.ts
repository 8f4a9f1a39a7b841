import type { Broker, History, StreamOptions } from '../broker/broker.js'
import { channelNameProblem } from '../channel/channel-name.js'
import { keepsStream, type NamespaceOptions, type Namespaces } from '../channel/namespaces.js'
import type { PresenceStats, PresenceStore } from '../presence/presence-store.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { errors } from '../protocol/errors.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import type { Draft, PublicationSource, Publisher } from './publisher.js'
import { publicationBytes } from './pushes.js'

/** Clients of a channel that are listed at once: some megabytes. In a larger one, `presenceStats` counts them. */
const MAX_LISTED_CLIENTS = 10_000

export interface ChannelPublishOptions {
  /** Keeps it out of the channel's history; it then has no position. */
  readonly skipHistory?: boolean
  readonly idempotencyKey?: string | undefined
}

export interface ChannelHistoryQuery {
  /** 0: only the position; -1: everything, up to the largest answer. */
  readonly limit: number
  readonly since: StreamPosition | undefined
  readonly isReverse: boolean
  /** About the most bytes to give, as SDKs get them; one publication is given however large. */
  readonly maxBytes: number
}

/** What can be done with a channel, by the rules of its namespace. Who may do it is the caller's to know. */
export class Channels {
  constructor(
    private readonly namespaces: Namespaces,
    private readonly publisher: Publisher,
    private readonly broker: Broker,
    private readonly presenceStore: PresenceStore,
    /** Publications in the largest answer. */
    private readonly maxHistoryPublications: number,
  ) {}

  findNamespace(channel: string): NamespaceOptions | undefined {
    return this.namespaces.of(channel)
  }

  /** Throws error 107 for what is no channel's name, 102 where there is no such namespace. */
  namespaceOf(channel: string): NamespaceOptions {
    const problem = channelNameProblem(channel)
    if (problem !== undefined) throw errors.badRequest(problem)
    const namespace = this.namespaces.of(channel)
    if (namespace === undefined) throw errors.unknownChannel('no namespace is configured for it')
    return namespace
  }

  /** Rejects with a BrokerError, or a ProtocolError as `namespaceOf` throws it. */
  async publish(
    source: PublicationSource,
    channel: string,
    draft: Draft,
    { skipHistory = false, idempotencyKey }: ChannelPublishOptions = {},
  ): Promise<StreamPosition | undefined> {
    const namespace = this.namespaceOf(channel)
    const stream = skipHistory ? undefined : streamOf(namespace)
    return this.publisher.publish(source, namespace.name, channel, draft, { stream, idempotencyKey })
  }

  /** Rejects with error 108 where no history is kept, 112 when the position is of another epoch. */
  async history(
    channel: string,
    { limit, since, isReverse, maxBytes }: ChannelHistoryQuery,
  ): Promise<History> {
    const { historyMetaTtlMs } = this.withHistory(channel)
    const history = await this.broker.history(channel, {
      limit: limit < 0 ? this.maxHistoryPublications : Math.min(limit, this.maxHistoryPublications),
      sinceOffset: since?.offset,
      isReverse,
      maxBytes,
      metaTtlMs: historyMetaTtlMs,
    })
    if (since !== undefined && since.epoch !== '' && since.epoch !== history.position.epoch) {
      throw errors.unrecoverablePosition('the stream began anew since then')
    }
    return { ...history, publications: withinBytes(history.publications, maxBytes) }
  }

  /** Rejects with error 108 where no history is kept. */
  async removeHistory(channel: string): Promise<void> {
    this.withHistory(channel)
    await this.broker.removeHistory(channel)
  }

  /** Rejects with error 108 where no presence is kept, 106 where more are in the channel than can be listed. */
  async presence(channel: string): Promise<ReadonlyMap<string, ClientInfo>> {
    this.checkPresence(channel)
    const clients = await this.presenceStore.list(channel, MAX_LISTED_CLIENTS)
    if (clients.size > MAX_LISTED_CLIENTS) {
      throw errors.limitExceeded(`more than ${MAX_LISTED_CLIENTS} clients are in the channel`)
    }
    return clients
  }

  /** Rejects with error 108 where no presence is kept. */
  async presenceStats(channel: string): Promise<PresenceStats> {
    this.checkPresence(channel)
    return this.presenceStore.stats(channel)
  }

  private withHistory(channel: string): NamespaceOptions {
    const namespace = this.namespaceOf(channel)
    if (!keepsStream(namespace)) throw errors.notAvailable('the channel keeps no history')
    return namespace
  }

  private checkPresence(channel: string): void {
    if (!this.namespaceOf(channel).presence) throw errors.notAvailable('the channel keeps no presence')
  }
}

/** The first of them: what raw clients said may take more as JSON than it did when it was read. */
function withinBytes(publications: readonly Publication[], maxBytes: number): readonly Publication[] {
  let bytes = 0
  const end = publications.findIndex((publication, index) => {
    bytes += publicationBytes(publication)
    return bytes > maxBytes && index > 0
  })
  return end < 0 ? publications : publications.slice(0, end)
}

function streamOf(namespace: NamespaceOptions): StreamOptions | undefined {
  if (!keepsStream(namespace)) return undefined
  const { historySize, historyTtlMs, historyMetaTtlMs } = namespace
  return { size: historySize, ttlMs: historyTtlMs, metaTtlMs: historyMetaTtlMs }
}
