import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker, History } from '../broker/broker.js'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { Publication, StreamPosition } from '../protocol/publication.js'
import { continuityOf, hasReached, isAhead, type LocalChannel } from './local-channel.js'
import { PublicationBuffer } from './publication-buffer.js'

/** Publications that are read at once. */
const PAGE_PUBLICATIONS = 1_000
/** Bytes that are read at once, about: a page must arrive within the broker's deadline, also over a slow link. */
const PAGE_BYTES = 1024 * 1024
/** How long a publication that is in the stream may still be on its way through the relay. */
const GRACE_MS = 100
/** Time between attempts to read a stream, and how long it is tried without a page: an outage may be what caused the gap. */
const RETRY_MS = 250
const GIVE_UP_MS = 10_000
/** Time between reads that reached the top while publications that arrived meanwhile have a gap again, and how many there are. */
const REREAD_MS = 50
const MAX_REREADS = 10

/** What a repair needs of the hub. */
export interface RepairHandler {
  /** Whether the channel is still in use. */
  isOpen(channel: LocalChannel): boolean
  /** Delivers a publication to the channel's subscribers, and advances the channel's position to it. */
  deliver(channel: LocalChannel, publication: Publication): void
  /** Notifies subscribers that publications are lost. */
  notifyGap(channel: LocalChannel): void
}

/**
 * Repairs gaps in what the relay delivered of a stream: reads the missing publications from the stream and delivers them
 * in order, while publications that the relay delivers are buffered.
 */
export class GapRepair {
  constructor(
    private readonly broker: Broker,
    private readonly metrics: Metrics,
    private readonly handler: RepairHandler,
    /** Called with an error that no code expects. */
    private readonly onDefect: (error: unknown) => void,
  ) {}

  /**
   * Begins a repair, unless one is under way. Resolves at its end.
   * @param next the publication that did not follow the channel's position, a copy to keep
   */
  async begin(channel: LocalChannel, next?: Publication): Promise<void> {
    if (channel.repairBuffer !== undefined) return
    const buffer = new PublicationBuffer()
    if (next !== undefined) buffer.add(next)
    channel.repairBuffer = buffer
    this.metrics.relayGaps.inc()
    try {
      await this.repair(channel, buffer)
    } catch (error) {
      this.onDefect(error)
    }
    if (channel.repairBuffer === buffer) channel.repairBuffer = undefined
    this.resolveWaiters(channel, () => true)
  }

  /** Resolves when the channel has delivered up to a position, after a repair if need be, or when it cannot any more. */
  catchUp(channel: LocalChannel, target: StreamPosition): Promise<void> {
    return new Promise((resolve) => {
      const grace = setTimeout(() => {
        if (channel.position !== undefined) void this.begin(channel)
        else {
          // No subscriber has a position, and nothing is on its way to them.
          channel.position = target
          this.positionChanged(channel)
        }
      }, GRACE_MS)
      channel.positionWaiters ??= new Set()
      channel.positionWaiters.add({
        target,
        resolve: () => {
          clearTimeout(grace)
          resolve()
        },
      })
    })
  }

  /** Resolves the waiters whose position the channel has reached. */
  positionChanged(channel: LocalChannel): void {
    if (channel.positionWaiters !== undefined)
      this.resolveWaiters(channel, ({ target }) => hasReached(channel.position, target))
  }

  private resolveWaiters(
    channel: LocalChannel,
    isDue: (waiter: { readonly target: StreamPosition }) => boolean,
  ): void {
    for (const waiter of channel.positionWaiters ?? []) {
      if (!isDue(waiter)) continue
      channel.positionWaiters?.delete(waiter)
      waiter.resolve()
    }
    if (channel.positionWaiters?.size === 0) channel.positionWaiters = undefined
  }

  private async repair(channel: LocalChannel, buffer: PublicationBuffer): Promise<void> {
    let giveUpAtMs = performance.now() + GIVE_UP_MS
    let rereads = 0
    for (;;) {
      const bufferedBefore = buffer.publications.length
      const positionBefore = channel.position
      const history = await this.read(channel)
      if (!this.handler.isOpen(channel)) return
      if (history === undefined) {
        if (performance.now() > giveUpAtMs) return this.resumeWithGap(channel, buffer, undefined)
        await sleep(RETRY_MS, undefined, { ref: false })
        continue
      }
      giveUpAtMs = performance.now() + GIVE_UP_MS
      this.dropUnconfirmed(buffer, bufferedBefore, history.position)
      if (isAhead(positionBefore, history.position)) {
        // A forged position, taken over when none was known: every publication since then looked old.
        this.metrics.relayMalformed.inc()
        channel.position = history.position
        return this.resumeWithGap(channel, buffer, history)
      }
      if (!this.deliverRead(channel, history)) return this.resumeWithGap(channel, buffer, history)
      const isAtTop = hasReached(channel.position, history.position)
      if (isAtTop && this.deliverBuffered(channel, buffer)) return
      // What did not fit into the buffer is in the stream too, above the top that was read.
      if (buffer.hasOverflowed) buffer.clear()
      if (!isAtTop) continue
      if (++rereads > MAX_REREADS) return this.resumeWithGap(channel, buffer, history)
      await sleep(REREAD_MS, undefined, { ref: false })
    }
  }

  /** Reads what is in the stream after the channel's position; undefined when the broker fails. */
  private async read({ name, position, rules }: LocalChannel): Promise<History | undefined> {
    const query = {
      limit: PAGE_PUBLICATIONS,
      sinceOffset: position?.offset,
      isReverse: false,
      maxBytes: PAGE_BYTES,
    }
    try {
      return await this.broker.history(name, { ...query, metaTtlMs: rules.metaTtlMs ?? 1 })
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return undefined
    }
  }

  /**
   * Drops buffered publications whose position no stream gave: forged ones, or those of an epoch that has ended. A
   * publication is in its stream before it is relayed, so one that arrived before the read is in its epoch and not above its top.
   */
  private dropUnconfirmed(
    { publications }: PublicationBuffer,
    bufferedBefore: number,
    top: StreamPosition,
  ): void {
    const confirmed = publications.filter(
      ({ position }, index) => index >= bufferedBefore || position === undefined || hasReached(top, position),
    )
    const dropped = publications.length - confirmed.length
    if (dropped === 0) return
    this.metrics.relayMalformed.inc(dropped)
    publications.splice(0, publications.length, ...confirmed)
  }

  /** Delivers what was read. Returns false where not all that is missing is in the stream. */
  private deliverRead(channel: LocalChannel, { publications, position: top }: History): boolean {
    if (channel.position?.epoch !== top.epoch) return false
    for (const publication of publications) {
      const continuity = continuityOf(channel.position, publication)
      if (continuity === 'gap') return false
      if (continuity === 'old') continue
      this.metrics.relayRepairedPublications.inc()
      this.handler.deliver(channel, publication)
    }
    return publications.length > 0 || hasReached(channel.position, top)
  }

  /** Delivers the buffered publications and ends the repair. Returns false where there is another gap among them. */
  private deliverBuffered(channel: LocalChannel, { publications }: PublicationBuffer): boolean {
    for (const [index, publication] of publications.entries()) {
      const continuity = continuityOf(channel.position, publication)
      if (continuity === 'gap') {
        publications.splice(0, index)
        return false
      }
      if (continuity === 'next') this.handler.deliver(channel, publication)
    }
    channel.repairBuffer = undefined
    return true
  }

  /**
   * Ends the repair with the gap: notifies subscribers with a position that they have to start over, and delivers to the
   * others what arrived.
   * @param history the read that shows which buffered publications are real; undefined: no read succeeded, and all are
   *   believed
   */
  private resumeWithGap(
    channel: LocalChannel,
    buffer: PublicationBuffer,
    history: History | undefined,
  ): void {
    this.metrics.relayUnrepairedGaps.inc()
    channel.repairBuffer = undefined
    this.handler.notifyGap(channel)
    // Without a read nothing tells real publications from forged ones, so all are delivered.
    const isConfirmed = ({ position }: Publication) =>
      position === undefined || history === undefined || hasReached(history.position, position)
    const later = buffer.publications.filter(
      (publication) => continuityOf(channel.position, publication) !== 'old',
    )
    const hasPosition = later.some(
      (publication) => publication.position !== undefined && isConfirmed(publication),
    )
    if (!hasPosition) channel.position = history?.position
    for (const publication of later) {
      const continuity = continuityOf(channel.position, publication)
      if (continuity === 'old' || (continuity === 'gap' && !isConfirmed(publication))) continue
      this.handler.deliver(channel, publication)
    }
  }
}
