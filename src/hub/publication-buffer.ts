import type { Publication } from '../broker/broker.js'

/** Publications and bytes that may come while one subscriber reads history; beyond, it has to start over. */
const MAX_PUBLICATIONS = 10_000
const MAX_BYTES = 16 * 1024 * 1024

/** Keeps what comes in a channel while a subscriber reads its history. */
export class PublicationBuffer {
  readonly publications: Publication[] = []
  hasOverflowed = false
  private bytes = 0

  add(publication: Publication): void {
    this.bytes += publication.data.byteLength
    if (this.publications.length >= MAX_PUBLICATIONS || this.bytes > MAX_BYTES) this.hasOverflowed = true
    if (this.hasOverflowed) return
    // The broker takes its buffer back when delivery returns.
    this.publications.push({ ...publication, data: Buffer.from(publication.data) })
  }
}
