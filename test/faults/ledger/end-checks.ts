import type { ChannelLog, Sent } from './channel-log.js'
import type { LedgerEvent, Permissions, Position } from './events.js'
import type { SubscriptionLog } from './subscription-log.js'

/** What a subscriber neither has nor was told of: all that has a position, acknowledged or not, and what is in no stream. */
export function lostBy(
  log: SubscriptionLog,
  channel: ChannelLog,
  sent: ReadonlyMap<string, Sent>,
): ReadonlySet<string> {
  const lost = new Set<string>()
  if (!log.isOwed) return lost
  for (const { position, id } of channel.placed()) {
    const publication = sent.get(id)
    if (publication === undefined || log.isSettled(position, publication.atMs)) continue
    lost.add(`${id} at ${shown(position)}`)
  }
  for (const { id, isAcknowledged, position, atMs } of channel.sent) {
    if (isAcknowledged && position === undefined && !log.isSettled(undefined, atMs)) {
      lost.add(`${id}, in no stream`)
    }
  }
  return lost
}

/** Acknowledged publications that a history lacks though the fault does not permit it. */
export function* missingIn(
  { position, publications }: Extract<LedgerEvent, { type: 'history' }>,
  channel: ChannelLog,
  permitted: Permissions['history'],
): Iterable<string> {
  if (permitted === 'evicted') return
  const kept = new Set(publications.map(({ id }) => id))
  for (const { id, isAcknowledged, position: at } of channel.sent) {
    if (!isAcknowledged || kept.has(id)) continue
    if (permitted === 'lost' && at?.epoch !== position.epoch) continue
    yield at === undefined ? id : `${id} at ${shown(at)}`
  }
}

/** A position as reports show it. */
export function shown({ epoch, offset }: Position): string {
  return `${epoch} ${offset}`
}
