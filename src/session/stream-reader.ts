import type { Broker, History } from '../broker/broker.js'
import type { NamespaceOptions } from '../channel/namespaces.js'
import type { PublicationBuffer } from '../hub/publication-buffer.js'
import { errors } from '../protocol/errors.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import { publicationBytes } from '../protocol/pushes.js'

/** Where a subscriber starts in a channel's stream. */
export interface StreamStart {
  /** The missed publications, in order, up to the position; none unless the subscriber recovered. */
  readonly publications: readonly Publication[]
  /** After those publications. What is delivered from now on follows it without a gap. */
  readonly position: StreamPosition
  readonly recovered: boolean
  /** Bytes of the publications in a reply, about. */
  readonly bytes: number
}

export interface StreamReaderOptions {
  readonly broker: Broker
  readonly channel: string
  readonly namespace: NamespaceOptions
  /** Receives the channel's publications since before the first read. */
  readonly buffer: PublicationBuffer
  /** The subscriber's last position; undefined: it is new. */
  readonly since: StreamPosition | undefined
  /** Publications that may be recovered at once. */
  readonly maxPublications: number
  /** Bytes that may be recovered at once: half of what the client may leave unread. */
  readonly maxBytes: number
}

/** Reads a stream for a new subscriber. */
export class StreamReader {
  private history: History | undefined

  constructor(private readonly options: StreamReaderOptions) {}

  /** Reads the stream. Resolves with the position of its top; rejects with a BrokerError. */
  async read(): Promise<StreamPosition> {
    const { broker, channel, since, namespace, maxPublications, maxBytes } = this.options
    const isCache = namespace.forceRecoveryMode === 'cache'
    const metaTtlMs = namespace.historyMetaTtlMs
    const query =
      since === undefined
        ? { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs }
        : isCache
          ? { limit: 1, sinceOffset: undefined, isReverse: true, metaTtlMs }
          : // One more than may be recovered shows that there are more.
            {
              limit: maxPublications + 1,
              sinceOffset: since.offset,
              isReverse: false,
              maxBytes,
              metaTtlMs,
            }
    this.history = await broker.history(channel, query)
    return this.history.position
  }

  /**
   * Returns where to start now; undefined when the publications that arrived meanwhile do not follow what was read, which
   * has to be read again. Throws error 100 when too many arrived. Nothing is recovered where it would take more than
   * `maxBytes`: a client that cannot be sent so much would be closed, reconnect, and ask for the same again.
   */
  start(maxBytes: number): StreamStart | undefined {
    const { buffer, namespace } = this.options
    if (buffer.hasOverflowed) throw errors.internal('too much was published while history was read')
    if (this.history === undefined) return undefined
    const { position: top } = this.history
    const later: Publication[] = []
    for (const publication of buffer.publications) {
      const { position } = publication
      // It skipped the history, and has no position.
      if (position === undefined) continue
      if (position.epoch !== top.epoch) return undefined
      if (position.offset <= top.offset) continue
      if (position.offset !== top.offset + 1 + later.length) return undefined
      later.push(publication)
    }
    const position = { epoch: top.epoch, offset: top.offset + later.length }
    const isCache = namespace.forceRecoveryMode === 'cache'
    const publications = isCache
      ? this.latest([...this.history.publications, ...later].findLast(isKnown), position)
      : this.missed(this.history, later)
    const bytes = publications?.reduce((sum, publication) => sum + publicationBytes(publication), 0) ?? 0
    // Nothing follows the latest publication, so it may take all that the client may leave unread.
    const limit = isCache ? maxBytes + this.options.maxBytes : maxBytes
    return publications === undefined || bytes > limit
      ? { publications: [], position, recovered: false, bytes: 0 }
      : { publications, position, recovered: true, bytes }
  }

  /** The latest publication; none where the subscriber has it, undefined where there is none to recover. */
  private latest(latest: Publication | undefined, top: StreamPosition): readonly Publication[] | undefined {
    const { since } = this.options
    if (since === undefined || latest === undefined) return undefined
    return since.epoch === top.epoch && since.offset === top.offset ? [] : [latest]
  }

  /** The missed publications of the history and those that arrived later; undefined unless the history has all of them. */
  private missed(
    { publications, position: top }: History,
    later: readonly Publication[],
  ): readonly Publication[] | undefined {
    const { since, maxPublications } = this.options
    if (since === undefined) return undefined
    if (since.epoch !== top.epoch || since.offset > top.offset) return undefined
    const isWhole = publications.length === top.offset - since.offset
    const isContiguous = publications.every(
      ({ position }, index) => position?.offset === since.offset + 1 + index,
    )
    if (!isWhole || !isContiguous || publications.length > maxPublications) return undefined
    return [...publications, ...later].filter(isKnown)
  }
}

/** Whether a client can receive it. */
function isKnown({ isUnknown }: Publication): boolean {
  return !isUnknown
}
