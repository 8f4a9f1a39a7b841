import { randomEpoch, UNUSED_EPOCH_TTL_MS } from '../channel/stream-epoch.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import type { History, HistoryQuery, KnownPosition, StreamOptions } from './broker.js'

/**
 * Bounds the streams that have had a publication, and separately those that were only read. Beyond it the least recently
 * used stream of the same kind is deleted, its epoch too. So reading channels never deletes a publication.
 */
const MAX_STREAMS = 100_000
/** Streams that every use checks for expiry. More than one, so that the sweep is faster than streams are created. */
const SWEPT_PER_USE = 2

/** A publication in a stream. */
type StoredPublication = Publication & { readonly position: StreamPosition }

interface Stream {
  readonly epoch: string
  topOffset: number
  /** The oldest first, with offsets without gaps. */
  publications: StoredPublication[]
  publicationsExpireAtMs: number
  /** When the stream is deleted, its epoch too. */
  expiresAtMs: number
}

/**
 * The streams of a node that runs alone. Expired publications and streams are deleted when their channel is used, or
 * gradually, by a sweep, when other channels are used.
 */
export class MemoryStreams {
  /** Streams that have had a publication, the least recently used first. */
  private readonly published = new Map<string, Stream>()
  /** Streams that were only read, the least recently used first. */
  private readonly unpublished = new Map<string, Stream>()
  private sweepCursor = this.entries()

  constructor(
    /** Milliseconds on a clock that never goes back. */
    private readonly nowMs: () => number,
    private readonly maxStreams = MAX_STREAMS,
  ) {}

  /** Adds a copy of the publication to the channel's stream. Returns the copy, with its position. */
  append(
    channel: string,
    publication: Publication,
    { size, ttlMs, metaTtlMs }: StreamOptions,
  ): StoredPublication {
    const nowMs = this.nowMs()
    const stream = this.open(channel, nowMs)
    const position = { epoch: stream.epoch, offset: ++stream.topOffset }
    const stored = { ...publication, data: Buffer.from(publication.data), position }
    stream.publications.push(stored)
    if (stream.publications.length > size) stream.publications.splice(0, stream.publications.length - size)
    stream.publicationsExpireAtMs = nowMs + ttlMs
    this.touch(channel, stream, nowMs + metaTtlMs)
    return stored
  }

  history(channel: string, query: HistoryQuery): History {
    const nowMs = this.nowMs()
    const stream = this.open(channel, nowMs)
    const { epoch, topOffset, publications } = stream
    this.renew(channel, stream, nowMs, query.metaTtlMs)
    return { publications: select(publications, query), position: { epoch, offset: topOffset } }
  }

  /** Begins no stream. */
  position(channel: string, metaTtlMs: number): KnownPosition {
    const nowMs = this.nowMs()
    const stream = this.find(channel, nowMs)
    if (stream === undefined) return 'none'
    this.renew(channel, stream, nowMs, metaTtlMs)
    return { epoch: stream.epoch, offset: stream.topOffset }
  }

  private renew(channel: string, stream: Stream, nowMs: number, metaTtlMs: number): void {
    const maxTtlMs = stream.topOffset === 0 ? UNUSED_EPOCH_TTL_MS : Number.POSITIVE_INFINITY
    this.touch(channel, stream, nowMs + Math.min(metaTtlMs, maxTtlMs))
  }

  /** Deletes the publications; the epoch and the top offset stay. */
  clear(channel: string): void {
    const stream = this.published.get(channel)
    if (stream !== undefined) stream.publications = []
  }

  private find(channel: string, nowMs: number): Stream | undefined {
    const known = this.published.get(channel) ?? this.unpublished.get(channel)
    return known === undefined || known.expiresAtMs <= nowMs ? undefined : known
  }

  /** Returns the channel's stream, or a new one where there is none or it has expired. */
  private open(channel: string, nowMs: number): Stream {
    this.sweepSome(nowMs)
    const stream = this.find(channel, nowMs) ?? emptyStream()
    if (stream.publicationsExpireAtMs <= nowMs) stream.publications = []
    return stream
  }

  /** Makes the stream the most recently used of its kind, which may delete the least recently used one. */
  private touch(channel: string, stream: Stream, expiresAtMs: number): void {
    stream.expiresAtMs = expiresAtMs
    this.delete(channel)
    const sameKind = stream.topOffset === 0 ? this.unpublished : this.published
    sameKind.set(channel, stream)
    if (sameKind.size <= this.maxStreams) return
    const [oldest] = sameKind.keys()
    if (oldest !== undefined) sameKind.delete(oldest)
  }

  private delete(channel: string): void {
    this.published.delete(channel)
    this.unpublished.delete(channel)
  }

  private *entries(): Generator<[string, Stream]> {
    yield* this.published.entries()
    yield* this.unpublished.entries()
  }

  private sweepSome(nowMs: number): void {
    for (let count = 0; count < SWEPT_PER_USE; count++) {
      const next = this.sweepCursor.next()
      if (next.done === true) {
        this.sweepCursor = this.entries()
        return
      }
      const [channel, stream] = next.value
      if (stream.expiresAtMs <= nowMs) this.delete(channel)
      else if (stream.publicationsExpireAtMs <= nowMs) stream.publications = []
    }
  }
}

/** Selects publications by their index, since their offsets have no gaps: reads no more of them than it returns. */
function select(
  publications: readonly StoredPublication[],
  { limit, sinceOffset, isReverse, maxBytes = Number.POSITIVE_INFINITY }: HistoryQuery,
): Publication[] {
  const first = publications[0]?.position.offset ?? 0
  const start = isReverse
    ? Math.min(publications.length, sinceOffset === undefined ? publications.length : sinceOffset - first) - 1
    : Math.max(0, sinceOffset === undefined ? 0 : sinceOffset + 1 - first)
  const selected: Publication[] = []
  let bytes = 0
  for (let index = start; selected.length < limit; index += isReverse ? -1 : 1) {
    const publication = publications[index]
    if (publication === undefined) break
    bytes += publication.data.byteLength
    if (bytes > maxBytes && selected.length > 0) break
    selected.push(publication)
  }
  return selected
}

function emptyStream(): Stream {
  return { epoch: randomEpoch(), topOffset: 0, publications: [], publicationsExpireAtMs: 0, expiresAtMs: 0 }
}
