import type { Broker, History, StreamOptions } from '../broker/broker.js'
import { channelNameProblem } from '../channel/channel-name.js'
import { keepsStream, type NamespaceOptions, type Namespaces } from '../channel/namespaces.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { PresenceStats, PresenceStore } from '../presence/presence-store.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { errors } from '../protocol/errors.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import { publicationBytes } from '../protocol/pushes.js'

/** Clients that `presence` returns at most: some megabytes. In a larger channel, `presenceStats` counts them. */
const MAX_LISTED_CLIENTS = 10_000
/** The least time between two log lines about failed publications; the metric counts them all. */
const FAILURE_LOG_INTERVAL_MS = 1_000

/** Which kind of publisher a publication comes from, as a metric's label. */
export type PublicationSource = 'raw' | 'centrifuge' | 'api'

export interface ChannelsOptions {
  readonly namespaces: Namespaces
  readonly broker: Broker
  readonly presenceStore: PresenceStore
  /** Publications in the largest answer. */
  readonly maxHistoryPublications: number
  readonly metrics: Metrics
  readonly log: Logger
}

export interface ChannelPublishRequest {
  readonly channel: string
  readonly source: PublicationSource
  readonly data: Uint8Array
  readonly isBinary: boolean
  /** Whether the data is known to be one line of JSON. */
  readonly isJson: boolean
  /** The publishing client, where subscribers receive it. */
  readonly info?: ClientInfo | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** Id of a client that does not receive it. */
  readonly excludedClient?: string | undefined
  /** Keeps it out of the channel's history; it then has no position. */
  readonly skipHistory?: boolean
  readonly idempotencyKey?: string | undefined
}

export interface ChannelHistoryQuery {
  /** 0: only the position; -1: everything, up to the largest answer. */
  readonly limit: number
  readonly since: StreamPosition | undefined
  readonly isReverse: boolean
  /** The most bytes to return, about, as SDKs receive them; one publication is returned however large. */
  readonly maxBytes: number
}

/** What can be done in a channel, by the options of its namespace. The caller checks permissions. */
export class Channels {
  private lastFailureLogMs = Number.NEGATIVE_INFINITY

  constructor(private readonly options: ChannelsOptions) {}

  findNamespace(channel: string): NamespaceOptions | undefined {
    return this.options.namespaces.of(channel)
  }

  /** Throws error 107 for a malformed channel name, 102 where the namespace does not exist. */
  namespaceOf(channel: string): NamespaceOptions {
    const problem = channelNameProblem(channel)
    if (problem !== undefined) throw errors.badRequest(problem)
    const namespace = this.options.namespaces.of(channel)
    if (namespace === undefined) throw errors.unknownChannel('no namespace is configured for it')
    return namespace
  }

  /**
   * Publishes to a channel. Copies the data before it returns. Resolves with the publication's position where the channel
   * keeps a stream. Rejects with a BrokerError, or a ProtocolError as `namespaceOf` throws it.
   */
  async publish(request: ChannelPublishRequest): Promise<StreamPosition | undefined> {
    const { channel, source, idempotencyKey } = request
    const namespace = this.namespaceOf(channel)
    const stream = request.skipHistory === true ? undefined : streamOf(namespace)
    const publication: Publication = {
      type: 'publication',
      data: request.data,
      isBinary: request.isBinary,
      isJson: request.isJson,
      info: request.info,
      tags: request.tags,
      position: undefined,
      excludedClient: request.excludedClient,
      publishedAtMs: Date.now(),
      isUnknown: false,
    }
    try {
      const position = await this.options.broker.publish(channel, publication, { stream, idempotencyKey })
      this.options.metrics.publicationCounter(namespace.name, source).value++
      return position
    } catch (error) {
      this.countFailure(source, error)
      throw error
    }
  }

  /** Rejects with error 108 where no history is stored, 112 when the position is of another epoch. */
  async history(
    channel: string,
    { limit, since, isReverse, maxBytes }: ChannelHistoryQuery,
  ): Promise<History> {
    const { historyMetaTtlMs } = this.namespaceWithHistory(channel)
    const history = await this.options.broker.history(channel, {
      limit:
        limit < 0
          ? this.options.maxHistoryPublications
          : Math.min(limit, this.options.maxHistoryPublications),
      sinceOffset: since?.offset,
      isReverse,
      maxBytes,
      metaTtlMs: historyMetaTtlMs,
    })
    if (since !== undefined && since.epoch !== '' && since.epoch !== history.position.epoch) {
      throw errors.unrecoverablePosition('the stream began anew since then')
    }
    const publications = history.publications.filter(({ isUnknown }) => !isUnknown)
    return { ...history, publications: withinBytes(publications, maxBytes) }
  }

  /** Rejects with error 108 where no history is stored. */
  async removeHistory(channel: string): Promise<void> {
    this.namespaceWithHistory(channel)
    await this.options.broker.removeHistory(channel)
  }

  /** Rejects with error 108 where no presence is stored, 106 where the channel has more clients than can be listed. */
  async presence(channel: string): Promise<ReadonlyMap<string, ClientInfo>> {
    this.checkKeepsPresence(channel)
    const clients = await this.options.presenceStore.list(channel, MAX_LISTED_CLIENTS)
    if (clients.size > MAX_LISTED_CLIENTS) {
      throw errors.limitExceeded(`more than ${MAX_LISTED_CLIENTS} clients are in the channel`)
    }
    return clients
  }

  /** Rejects with error 108 where no presence is stored. */
  async presenceStats(channel: string): Promise<PresenceStats> {
    this.checkKeepsPresence(channel)
    return this.options.presenceStore.stats(channel)
  }

  private namespaceWithHistory(channel: string): NamespaceOptions {
    const namespace = this.namespaceOf(channel)
    if (!keepsStream(namespace)) throw errors.notAvailable('the channel keeps no history')
    return namespace
  }

  private checkKeepsPresence(channel: string): void {
    if (!this.namespaceOf(channel).presence) throw errors.notAvailable('the channel keeps no presence')
  }

  private countFailure(source: PublicationSource, error: unknown): void {
    if (!(error instanceof BrokerError)) {
      this.options.log.error({ err: error }, 'publishing failed')
      return
    }
    const { reason, message } = error
    this.options.metrics.publicationFailures.inc({ source, reason })
    const nowMs = performance.now()
    if (nowMs - this.lastFailureLogMs < FAILURE_LOG_INTERVAL_MS) return
    this.lastFailureLogMs = nowMs
    this.options.log.warn({ source, reason, error: message }, 'publications fail')
  }
}

/** The first publications that fit: data of raw clients may take more bytes as JSON than it did when it was read. */
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
