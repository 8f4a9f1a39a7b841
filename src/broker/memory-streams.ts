import { randomEpoch } from '../channel/stream-epoch.js'
import type { History, HistoryQuery, Position, Publication, StreamOptions } from './broker.js'

/** Streams of different channels; beyond them the one that was used longest ago is forgotten, its epoch too. */
const MAX_STREAMS = 100_000
/** Streams that every use looks at for what has expired: enough to get round faster than streams are made. */
const SWEPT_PER_USE = 2

/** A publication that is in a stream. */
type Kept = Publication & { readonly position: Position }

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
  /** In order of their last use. */
  private readonly streams = new Map<string, Stream>()
  private sweep = this.streams.entries()

  constructor(
    /** Milliseconds on a clock that never goes back. */
    private readonly nowMs: () => number,
    private readonly maxStreams = MAX_STREAMS,
  ) {}

  /** Keeps a copy, and gives it with its position. */
  append(channel: string, publication: Publication, { size, ttlMs, metaTtlMs }: StreamOptions): Kept {
    const nowMs = this.nowMs()
    const stream = this.use(channel, nowMs, metaTtlMs)
    const position = { epoch: stream.epoch, offset: ++stream.topOffset }
    const kept = { ...publication, data: Buffer.from(publication.data), position }
    stream.kept.push(kept)
    if (stream.kept.length > size) stream.kept.splice(0, stream.kept.length - size)
    stream.keptUntilMs = nowMs + ttlMs
    return kept
  }

  history(channel: string, query: HistoryQuery): History {
    const { epoch, topOffset, kept } = this.use(channel, this.nowMs(), query.metaTtlMs)
    return { publications: select(kept, query), position: { epoch, offset: topOffset } }
  }

  /** Forgets the publications; the epoch and the top offset stay. */
  clear(channel: string): void {
    const stream = this.streams.get(channel)
    if (stream !== undefined) stream.kept = []
  }

  private use(channel: string, nowMs: number, metaTtlMs: number): Stream {
    this.sweepSome(nowMs)
    const known = this.streams.get(channel)
    const stream = known === undefined || known.endsAtMs <= nowMs ? emptyStream() : known
    if (stream.keptUntilMs <= nowMs) stream.kept = []
    stream.endsAtMs = nowMs + metaTtlMs
    this.streams.delete(channel)
    this.streams.set(channel, stream)
    if (this.streams.size > this.maxStreams) this.forgetOldest()
    return stream
  }

  private forgetOldest(): void {
    const [oldest] = this.streams.keys()
    if (oldest !== undefined) this.streams.delete(oldest)
  }

  private sweepSome(nowMs: number): void {
    for (let count = 0; count < SWEPT_PER_USE; count++) {
      const next = this.sweep.next()
      if (next.done === true) {
        this.sweep = this.streams.entries()
        return
      }
      const [channel, stream] = next.value
      if (stream.endsAtMs <= nowMs) this.streams.delete(channel)
      else if (stream.keptUntilMs <= nowMs) stream.kept = []
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
