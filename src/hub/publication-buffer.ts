import type { Publication } from '../protocol/publication.js'

/** Bounds of a buffer: beyond them it overflows, and its reader has to start over. */
const MAX_PUBLICATIONS = 10_000
const MAX_BYTES = 16 * 1024 * 1024

/** Copies a publication to keep it: the broker reuses its bytes when delivery returns. */
export function copyOf(publication: Publication): Publication {
  return { ...publication, data: Buffer.from(publication.data) }
}

/** Buffers the publications of a channel while its history is being read. */
export class PublicationBuffer {
  readonly publications: Publication[] = []
  hasOverflowed = false
  private bytes = 0

  /** Keeps the publication itself, so that buffers of several readers share one copy. */
  add(publication: Publication): void {
    this.bytes += publication.data.byteLength
    if (this.publications.length >= MAX_PUBLICATIONS || this.bytes > MAX_BYTES) this.hasOverflowed = true
    if (this.hasOverflowed) return
    this.publications.push(publication)
  }

  clear(): void {
    this.publications.length = 0
    this.bytes = 0
    this.hasOverflowed = false
  }
}
