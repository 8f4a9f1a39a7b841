import { randomEpoch, UNUSED_EPOCH_TTL_MS } from '../channel/stream-epoch.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import type { History, HistoryQuery, StreamOptions } from './broker.js'

/**
 * Streams that something was published in, and as many others, which readers begin; beyond them the one of the same
 * sort that was used longest ago is forgotten, its epoch too. So reading never costs a channel its publications.
 */
const MAX_STREAMS = 100_000
/** Streams that every use looks at for what has expired: enough to get round faster than streams are made. */
const SWEPT_PER_USE = 2

/** A publication that is in a stream. */
type Kept = Publication & { readonly position: StreamPosition }

interface Stream {
  readonly epoch: string
  topOffset: number
  /** The oldest first. */
  kept: Kept[]
  keptUntilMs: number
  /** When all of it is forgotten. */
  endsAtMs: number
}

/**
 * The streams of a node that is alone. What has expired is dropped when its channel is used, or by and by when others
 * are.
 */
export class MemoryStreams {
  /** Those that something was published in, in order of their last use. */
  private readonly used = new Map<string, Stream>()
  /** The others, likewise. */
  private readonly unused = new Map<string, Stream>()
  private sweep = this.entries()

  constructor(
    /** Milliseconds on a clock that never goes back. */
    private readonly nowMs: () => number,
    private readonly maxStreams = MAX_STREAMS,
  ) {}

  /** Keeps a copy, and gives it with its position. */
  append(channel: string, publication: Publication, { size, ttlMs, metaTtlMs }: StreamOptions): Kept {
    const nowMs = this.nowMs()
    const stream = this.open(channel, nowMs)
    const position = { epoch: stream.epoch, offset: ++stream.topOffset }
    const kept = { ...publication, data: Buffer.from(publication.data), position }
    stream.kept.push(kept)
    if (stream.kept.length > size) stream.kept.splice(0, stream.kept.length - size)
    stream.keptUntilMs = nowMs + ttlMs
    this.remember(channel, stream, nowMs + metaTtlMs)
    return kept
  }

  history(channel: string, query: HistoryQuery): History {
    const nowMs = this.nowMs()
    const stream = this.open(channel, nowMs)
    const { epoch, topOffset, kept } = stream
    const maxTtlMs = topOffset === 0 ? UNUSED_EPOCH_TTL_MS : Number.POSITIVE_INFINITY
    this.remember(channel, stream, nowMs + Math.min(query.metaTtlMs, maxTtlMs))
    return { publications: select(kept, query), position: { epoch, offset: topOffset } }
  }

  /** Forgets the publications; the epoch and the top offset stay. */
  clear(channel: string): void {
    const stream = this.used.get(channel)
    if (stream !== undefined) stream.kept = []
  }

  /** The channel's stream; a new one if there is none that goes on. */
  private open(channel: string, nowMs: number): Stream {
    this.sweepSome(nowMs)
    const known = this.used.get(channel) ?? this.unused.get(channel)
    const stream = known === undefined || known.endsAtMs <= nowMs ? emptyStream() : known
    if (stream.keptUntilMs <= nowMs) stream.kept = []
    return stream
  }

  private remember(channel: string, stream: Stream, endsAtMs: number): void {
    stream.endsAtMs = endsAtMs
    this.used.delete(channel)
    this.unused.delete(channel)
    const alike = stream.topOffset === 0 ? this.unused : this.used
    alike.set(channel, stream)
    if (alike.size <= this.maxStreams) return
    const [oldest] = alike.keys()
    if (oldest !== undefined) alike.delete(oldest)
  }

  private *entries(): Generator<[string, Stream]> {
    yield* this.used.entries()
    yield* this.unused.entries()
  }

  private sweepSome(nowMs: number): void {
    for (let count = 0; count < SWEPT_PER_USE; count++) {
      const next = this.sweep.next()
      if (next.done === true) {
        this.sweep = this.entries()
        return
      }
      const [channel, stream] = next.value
      if (stream.endsAtMs <= nowMs) {
        this.used.delete(channel)
        this.unused.delete(channel)
      } else if (stream.keptUntilMs <= nowMs) stream.kept = []
    }
  }
}

/** Looks at no more than it gives. The offsets of what is kept are without gaps. */
function select(
  kept: readonly Kept[],
  { limit, sinceOffset, isReverse, maxBytes = Number.POSITIVE_INFINITY }: HistoryQuery,
): Publication[] {
  const first = kept[0]?.position.offset ?? 0
  const start = isReverse
    ? Math.min(kept.length, sinceOffset === undefined ? kept.length : sinceOffset - first) - 1
    : Math.max(0, sinceOffset === undefined ? 0 : sinceOffset + 1 - first)
  const found: Publication[] = []
  let bytes = 0
  for (let index = start; found.length < limit; index += isReverse ? -1 : 1) {
    const publication = kept[index]
    if (publication === undefined) break
    bytes += publication.data.byteLength
    if (bytes > maxBytes && found.length > 0) break
    found.push(publication)
  }
  return found
}

function emptyStream(): Stream {
  return { epoch: randomEpoch(), topOffset: 0, kept: [], keptUntilMs: 0, endsAtMs: 0 }
}
