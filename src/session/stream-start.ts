import type { Broker, History } from '../broker/broker.js'
import type { NamespaceOptions } from '../channel/namespaces.js'
import type { PublicationBuffer } from '../hub/publication-buffer.js'
import { publicationBytes } from '../hub/pushes.js'
import { errors } from '../protocol/errors.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'

/** Where a subscriber begins in a channel's stream. */
export interface StreamStart {
  /** What it missed, in order, up to the position; nothing unless it recovered. */
  readonly publications: readonly Publication[]
  /** After those. What is delivered from now on follows it without a gap. */
  readonly position: StreamPosition
  readonly recovered: boolean
  /** About what the publications take in a reply. */
  readonly bytes: number
}

/** Reads a stream for a new subscriber. */
export class StreamReader {
  private history: History | undefined

  constructor(
    private readonly broker: Broker,
    private readonly channel: string,
    private readonly namespace: NamespaceOptions,
    /** What comes in the channel from before the first read on. */
    private readonly buffer: PublicationBuffer,
    /** Where the subscriber was; undefined: it is new. */
    private readonly since: StreamPosition | undefined,
    /** Publications that may be recovered at once. */
    private readonly maxPublications: number,
    /** Bytes that may be recovered at once. */
    private readonly maxBytes: number,
  ) {}

  /** Reads the stream, and gives its top. */
  async read(): Promise<StreamPosition> {
    const { since, namespace, maxBytes } = this
    const isCache = namespace.forceRecoveryMode === 'cache'
    const metaTtlMs = namespace.historyMetaTtlMs
    const query =
      since === undefined
        ? { limit: 0, sinceOffset: undefined, isReverse: false, metaTtlMs }
        : isCache
          ? { limit: 1, sinceOffset: undefined, isReverse: true, metaTtlMs }
          : // One more than may be recovered shows that there is more.
            {
              limit: this.maxPublications + 1,
              sinceOffset: since.offset,
              isReverse: false,
              maxBytes,
              metaTtlMs,
            }
    this.history = await this.broker.history(this.channel, query)
    return this.history.position
  }

  /**
   * Where to begin, now. Undefined when what came meanwhile does not follow what was read: then read again. Nothing is
   * recovered where it would take more than `maxBytes`: a client that can't be sent it would be closed, come back, and
   * ask for the same again.
   */
  start(maxBytes: number): StreamStart | undefined {
    if (this.buffer.hasOverflowed) throw errors.internal('too much was published while history was read')
    if (this.history === undefined) return undefined
    const { position: top } = this.history
    const later: Publication[] = []
    for (const publication of this.buffer.publications) {
      const { position } = publication
      // Published past the history: it has no place.
      if (position === undefined) continue
      if (position.epoch !== top.epoch) return undefined
      if (position.offset <= top.offset) continue
      if (position.offset !== top.offset + 1 + later.length) return undefined
      later.push(publication)
    }
    const position = { epoch: top.epoch, offset: top.offset + later.length }
    const isCache = this.namespace.forceRecoveryMode === 'cache'
    const publications = isCache
      ? this.latest(later.at(-1) ?? this.history.publications[0], position)
      : this.missed(this.history, later)
    const bytes = publications?.reduce((sum, publication) => sum + publicationBytes(publication), 0) ?? 0
    // The one that a cache holds takes no more than when it was new.
    return publications === undefined || (bytes > maxBytes && !isCache)
      ? { publications: [], position, recovered: false, bytes: 0 }
      : { publications, position, recovered: true, bytes }
  }

  /** The latest publication, unless there is none; nothing where it has been seen. */
  private latest(latest: Publication | undefined, top: StreamPosition): readonly Publication[] | undefined {
    const { since } = this
    if (since === undefined || latest === undefined) return undefined
    return since.epoch === top.epoch && since.offset === top.offset ? [] : [latest]
  }

  /** What was missed up to the top of the history and came after it, if all of it is there. */
  private missed(
    { publications, position: top }: History,
    later: readonly Publication[],
  ): readonly Publication[] | undefined {
    const { since } = this
    if (since === undefined) return undefined
    if (since.epoch !== top.epoch || since.offset > top.offset) return undefined
    const isWhole = publications.length === top.offset - since.offset
    const isContiguous = publications.every(
      ({ position }, index) => position?.offset === since.offset + 1 + index,
    )
    if (!isWhole || !isContiguous || publications.length > this.maxPublications) return undefined
    return [...publications, ...later]
  }
}
