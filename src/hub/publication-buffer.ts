/** Publications and bytes that may come while one subscriber reads history; beyond, it has to start over. */
const MAX_PUBLICATIONS = 10_000
const MAX_BYTES = 16 * 1024 * 1024

/** A copy to keep: the broker takes its buffer back when delivery returns. */
import type { Publication } from '../protocol/publication.js'
export function copyOf(publication: Publication): Publication {
  return { ...publication, data: Buffer.from(publication.data) }
}

/** Keeps what comes in a channel while a subscriber reads its history. */
export class PublicationBuffer {
  readonly publications: Publication[] = []
  hasOverflowed = false
  private bytes = 0

  /** Keeps the publication itself, so that all who read at the same time share one copy. */
  add(publication: Publication): void {
    this.bytes += publication.data.byteLength
    if (this.publications.length >= MAX_PUBLICATIONS || this.bytes > MAX_BYTES) this.hasOverflowed = true
    if (this.hasOverflowed) return
    this.publications.push(publication)
  }
}
