import type { Position } from './events.js'

/** A publication, from what its publisher knows of it. */
export interface Sent {
  readonly id: string
  readonly channel: string
  readonly publisher: string
  readonly number: number
  readonly atMs: number
  isAcknowledged: boolean
  /** Whether it was sent more than once. */
  isRepeated: boolean
  /** Where it is in the stream, in the epoch in which it was given its offset. */
  position: Position | undefined
}

/** What is known of one channel: its publications, and which of them has which position. */
export class ChannelLog {
  readonly sent: Sent[] = []
  private readonly positions = new Map<string, Map<number, string>>()

  get epochs(): number {
    return this.positions.size
  }

  /** Returns the id that has the position already, if that is another one. */
  place(position: Position, id: string): string | undefined {
    let offsets = this.positions.get(position.epoch)
    if (offsets === undefined) {
      offsets = new Map()
      this.positions.set(position.epoch, offsets)
    }
    const known = offsets.get(position.offset)
    if (known === undefined) offsets.set(position.offset, id)
    return known === id ? undefined : known
  }

  /** Every position of which it is known what stands there. */
  *placed(): Iterable<{ readonly position: Position; readonly id: string }> {
    for (const [epoch, offsets] of this.positions) {
      for (const [offset, id] of offsets) yield { position: { epoch, offset }, id }
    }
  }
}
