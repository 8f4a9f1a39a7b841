import type { Sent } from './channel-log.js'
import type { Property } from './events.js'

/** The place of an end of the connection among what was heard. */
const END = Symbol('end of a connection')

/** What a subscriber heard that is given no offsets: a raw client, or an SDK client in a channel without history. */
export class HearingLog {
  private readonly ids: (string | typeof END)[] = []

  add(id: string): void {
    this.ids.push(id)
  }

  /** The next connection may lead to a node that hears later: what it says is judged by itself. */
  disconnect(): void {
    this.ids.push(END)
  }

  /**
   * Returns what was heard twice or out of order on one connection. The order is that of the stream where there is one, else that of each
   * publisher. What a publisher was not told the outcome of may be published later than what it sent next.
   */
  *problems(sent: ReadonlyMap<string, Sent>): Iterable<{ property: Property; text: string }> {
    const heard = new Set<string>()
    const last = new Map<string, number>()
    for (const id of this.ids) {
      if (id === END) {
        heard.clear()
        last.clear()
        continue
      }
      const publication = sent.get(id)
      if (publication === undefined) continue
      // Who publishes again after a failover that lost the first may be heard twice: an idempotency key is lost with it.
      if (heard.has(id)) {
        if (!publication.isRepeated) yield { property: 'P2', text: `heard ${id} twice` }
        continue
      }
      heard.add(id)
      const { position, publisher, number, isAcknowledged, isRepeated } = publication
      if (position === undefined && (!isAcknowledged || isRepeated)) continue
      const order = position === undefined ? publisher : position.epoch
      const at = position?.offset ?? number
      const before = last.get(order) ?? 0
      if (at <= before) yield { property: 'P3', text: `heard ${id} (${order} ${at}) after ${before}` }
      else last.set(order, at)
    }
  }
}
