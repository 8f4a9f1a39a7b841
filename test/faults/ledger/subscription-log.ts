import type { Position } from './events.js'

/** From when a subscriber was told to load its state anew until it was told again: it is owed all that follows. */
interface Span {
  readonly atMs: number
  readonly epoch: string
  /** The offset that it began at, and the highest that it received. */
  readonly after: number
  last: number
}

/** Steps of a trail; older ones are dropped. */
const MAX_STEPS = 20

/** What one subscriber went through in one channel with history. */
export class SubscriptionLog {
  state: 'away' | 'subscribed' | 'unsubscribed' | 'ended' = 'away'
  /** Whether what comes next has to follow a recovery. */
  isJustRecovered = false
  private readonly received = new Map<string, Set<number>>()
  private readonly spans: Span[] = []
  private readonly steps: string[] = []
  /** The first offset of the deliveries that followed each other without a step between them. */
  private runFrom: number | undefined

  /** Returns what is wrong with an offset in the order of all before it, and remembers it. */
  add(offset: number): 'repeated' | 'reordered' | undefined {
    const span = this.spans.at(-1)
    if (span === undefined) throw new Error('nobody receives anything before it is subscribed')
    const offsets = this.offsetsOf(span.epoch)
    if (offsets.has(offset)) {
      this.note(`${offset} again`)
      return 'repeated'
    }
    offsets.add(offset)
    const isReordered = offset < span.last
    if (isReordered) this.note(`${offset} after ${span.last}`)
    else if (offset > span.last + 1) this.note(`a hole up to ${offset}`)
    this.runFrom ??= offset
    span.last = Math.max(span.last, offset)
    return isReordered ? 'reordered' : undefined
  }

  /**
   * Goes on from a position that a client has named, for which it may have dropped what came later: what an SDK receives
   * while it unsubscribes.
   */
  goOn({ epoch, offset }: Position): void {
    const span = this.spans.at(-1)
    if (span === undefined || span.epoch !== epoch || offset >= span.last) return
    const offsets = this.offsetsOf(epoch)
    for (let dropped = offset + 1; dropped <= span.last; dropped++) offsets.delete(dropped)
    span.last = offset
  }

  /** Whether it is owed anything: it has been subscribed to a stream. */
  get isOwed(): boolean {
    return this.spans.length > 0
  }

  /** Begins anew at a position: what was missed before it is not owed any more. */
  tell(atMs: number, { epoch, offset }: Position): void {
    this.spans.push({ atMs, epoch, after: offset, last: offset })
  }

  /** Whether the subscriber has a publication, or was told after it was sent and before it went on beyond it. */
  isSettled(position: Position | undefined, sentAtMs: number): boolean {
    if (position !== undefined) {
      const { epoch, offset } = position
      if (this.received.get(epoch)?.has(offset) === true) return true
      const isPassed = this.spans.some(
        (span) => span.epoch === epoch && span.after < offset && offset < span.last,
      )
      if (isPassed) return false
    }
    // A subscriber that the server put out for good was told so.
    if (this.state === 'ended') return true
    return this.spans.some((span) =>
      span.epoch === position?.epoch ? span.after >= position.offset : span.atMs >= sentAtMs,
    )
  }

  /** Where the subscriber is now. */
  get position(): Position {
    const { epoch = '', last = 0 } = this.spans.at(-1) ?? {}
    return { epoch, offset: last }
  }

  note(step: string): void {
    if (this.runFrom !== undefined) this.steps.push(`received ${this.runFrom} to ${this.position.offset}`)
    this.runFrom = undefined
    this.steps.push(step)
    this.steps.splice(0, this.steps.length - MAX_STEPS)
  }

  /** Its steps, the last one being what it received since. */
  get trail(): readonly string[] {
    const open = this.runFrom === undefined ? [] : [`received ${this.runFrom} to ${this.position.offset}`]
    return [...this.steps, ...open]
  }

  private offsetsOf(epoch: string): Set<number> {
    const known = this.received.get(epoch)
    if (known !== undefined) return known
    const created = new Set<number>()
    this.received.set(epoch, created)
    return created
  }
}
