import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker, History } from '../broker/broker.js'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import { continuityOf, hasReached, isAhead, type LocalChannel } from './local-channel.js'
import { PublicationBuffer } from './publication-buffer.js'

/** Publications that are read at once. */
const PAGE_PUBLICATIONS = 1_000
/** Publications that are repaired at once: whoever missed more is better off reading as much as it wants itself. */
const MAX_REPAIRED = 10_000
/** What the stream has may still be on its way through the relay for so long. */
const GRACE_MS = 100
/** Between attempts to read a stream, and for how long it is tried: an outage may be what made the gap. */
const RETRY_MS = 250
const GIVE_UP_MS = 10_000
/** Between reads that found all there was while what came meanwhile has a gap again, and how many there are. */
const REREAD_MS = 50
const MAX_REREADS = 10

/** What a repair needs of the hub. */
export interface Deliveries {
  /** Whether the channel is still in use. */
  isLive(channel: LocalChannel): boolean
  /** Hands a publication to the channel's members, and goes on from its position. */
  hand(channel: LocalChannel, publication: Publication): void
  /** Tells the members that publications were missed for good. */
  missed(channel: LocalChannel): void
}

/**
 * Closes gaps in what the relay delivered of a stream: reads what is missing from the stream and hands it out in order,
 * while what comes from the relay waits.
 */
export class GapRepair {
  constructor(
    private readonly broker: Broker,
    private readonly metrics: Metrics,
    private readonly deliveries: Deliveries,
    /** Where a defect is told. */
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Begins a repair, unless one is under way. `next`: the publication that did not follow the channel's position, a copy to keep. */
  begin(channel: LocalChannel, next?: Publication): void {
    if (channel.held !== undefined) return
    const held = new PublicationBuffer()
    if (next !== undefined) held.add(next)
    channel.held = held
    this.metrics.relayGaps.inc()
    this.run(channel, held)
      .catch(this.failed)
      .finally(() => {
        if (channel.held === held) channel.held = undefined
        this.wake(channel, () => true)
      })
  }

  /** Resolves when the channel has been delivered up to a position, repaired if need be, or when that can't be. */
  catchUp(channel: LocalChannel, target: StreamPosition): Promise<void> {
    return new Promise((resolve) => {
      const grace = setTimeout(() => {
        if (channel.position !== undefined) this.begin(channel)
        else {
          // Members who don't follow the stream, and nothing on its way to them.
          channel.position = target
          this.advanced(channel)
        }
      }, GRACE_MS)
      const reached = () => {
        clearTimeout(grace)
        resolve()
      }
      channel.awaited ??= new Set()
      channel.awaited.add({ target, reached })
    })
  }

  /** The channel's position has changed. */
  advanced(channel: LocalChannel): void {
    if (channel.awaited !== undefined)
      this.wake(channel, ({ target }) => hasReached(channel.position, target))
  }

  private wake(
    channel: LocalChannel,
    isDue: (awaited: { readonly target: StreamPosition }) => boolean,
  ): void {
    for (const awaited of channel.awaited ?? []) {
      if (!isDue(awaited)) continue
      channel.awaited?.delete(awaited)
      awaited.reached()
    }
    if (channel.awaited?.size === 0) channel.awaited = undefined
  }

  private async run(channel: LocalChannel, held: PublicationBuffer): Promise<void> {
    const giveUpAtMs = performance.now() + GIVE_UP_MS
    let repaired = 0
    let rereads = 0
    for (;;) {
      const heldBefore = held.publications.length
      const positionBefore = channel.position
      const history = await this.read(channel)
      if (!this.deliveries.isLive(channel)) return
      if (history === undefined) {
        if (performance.now() > giveUpAtMs || held.hasOverflowed) return this.giveUp(channel, held, undefined)
        await sleep(RETRY_MS, undefined, { ref: false })
        continue
      }
      this.dropUnfounded(held, heldBefore, history.position)
      if (isAhead(positionBefore, history.position)) {
        // Forged, when no position was known: all since then was taken for old.
        this.metrics.relayMalformed.inc()
        channel.position = history.position
        return this.giveUp(channel, held, history)
      }
      const count = held.hasOverflowed ? undefined : this.handRead(channel, history)
      if (count === undefined) return this.giveUp(channel, held, history)
      repaired += count
      const isAtTop = hasReached(channel.position, history.position)
      if (isAtTop && this.handHeld(channel, held)) return
      if (repaired > MAX_REPAIRED) return this.giveUp(channel, held, history)
      if (!isAtTop) continue
      if (++rereads > MAX_REREADS) return this.giveUp(channel, held, history)
      await sleep(REREAD_MS, undefined, { ref: false })
    }
  }

  /** What the stream has after the channel's position; undefined when the broker fails. */
  private async read({ name, position, rules }: LocalChannel): Promise<History | undefined> {
    const query = { limit: PAGE_PUBLICATIONS, sinceOffset: position?.offset, isReverse: false }
    try {
      return await this.broker.history(name, { ...query, metaTtlMs: rules.metaTtlMs ?? 1 })
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return undefined
    }
  }

  /**
   * Drops what no stream has given its place: forged, or of an epoch that is over. A publication is kept before it is
   * relayed, so whatever came before the stream was read is in its epoch and not past its top.
   */
  private dropUnfounded({ publications }: PublicationBuffer, heldBefore: number, top: StreamPosition): void {
    const founded = publications.filter(
      ({ position }, index) => index >= heldBefore || position === undefined || hasReached(top, position),
    )
    const dropped = publications.length - founded.length
    if (dropped === 0) return
    this.metrics.relayMalformed.inc(dropped)
    publications.splice(0, publications.length, ...founded)
  }

  /** How many were handed out; undefined when the stream does not hold all that is missing. */
  private handRead(channel: LocalChannel, { publications, position: top }: History): number | undefined {
    if (channel.position?.epoch !== top.epoch) return undefined
    for (const publication of publications) {
      const continuity = continuityOf(channel.position, publication)
      if (continuity === 'gap') return undefined
      if (continuity === 'old') continue
      this.metrics.relayRepairedPublications.inc()
      this.deliveries.hand(channel, publication)
    }
    if (publications.length === 0 && !hasReached(channel.position, top)) return undefined
    return publications.length
  }

  /** Whether all that was held back could be handed out; otherwise there is another gap. */
  private handHeld(channel: LocalChannel, { publications }: PublicationBuffer): boolean {
    for (const [index, publication] of publications.entries()) {
      const continuity = continuityOf(channel.position, publication)
      if (continuity === 'gap') {
        publications.splice(0, index)
        return false
      }
      if (continuity === 'next') this.deliveries.hand(channel, publication)
    }
    channel.held = undefined
    return true
  }

  /** Whoever follows the stream is sent to read it anew; others get what there is. */
  private giveUp(channel: LocalChannel, held: PublicationBuffer, history: History | undefined): void {
    this.metrics.relayUnrepairedGaps.inc()
    channel.held = undefined
    this.deliveries.missed(channel)
    // Without a read that vouches for some of it, all that came is as good as any other.
    const isFounded = ({ position }: Publication) =>
      position === undefined || history === undefined || hasReached(history.position, position)
    const later = held.publications.filter(
      (publication) => continuityOf(channel.position, publication) !== 'old',
    )
    const hasPlace = later.some((publication) => publication.position !== undefined && isFounded(publication))
    if (!hasPlace) channel.position = history?.position
    for (const publication of later) {
      const continuity = continuityOf(channel.position, publication)
      if (continuity === 'old' || (continuity === 'gap' && !isFounded(publication))) continue
      this.deliveries.hand(channel, publication)
    }
  }
}
