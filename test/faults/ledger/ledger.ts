import { ChannelLog, type Sent } from './channel-log.js'
import { lostBy, missingIn, shown } from './end-checks.js'
import type { LedgerEvent, Permissions, Position, Property, Violation } from './events.js'
import { GapCount } from './gap-count.js'
import { HearingLog } from './hearing-log.js'
import { SubscriptionLog } from './subscription-log.js'
import { Violations } from './violations.js'

/** What a run was like, and what was wrong with it. */
export interface LedgerReport {
  readonly deliveries: number
  readonly acknowledged: number
  readonly refused: number
  readonly epochs: number
  /** Subscribers that had to load their state anew, and the subscriptions that the server ended for a gap. */
  readonly told: number
  readonly gapsTold: number
  readonly recoveries: number
  readonly recoverable: number
  readonly violations: Readonly<Record<Property, number>>
  readonly described: readonly Violation[]
}

type EventOf<T extends LedgerEvent['type']> = Extract<LedgerEvent, { type: T }>

/**
 * Checks what clients of a cluster have seen against what publishers were told. It is given events in the order in
 * which they happened and judges when all are there: it knows no network, no time and no randomness.
 */
export class Ledger {
  private readonly sent = new Map<string, Sent>()
  private readonly channels = new Map<string, ChannelLog>()
  private readonly subscriptions = new Map<string, Map<string, SubscriptionLog>>()
  private readonly hearings = new Map<string, Map<string, HearingLog>>()
  private readonly gaps = new GapCount()
  private readonly histories: EventOf<'history'>[] = []
  private readonly counts = {
    deliveries: 0,
    acknowledged: 0,
    refused: 0,
    told: 0,
    recoveries: 0,
    recoverable: 0,
  }
  private readonly violations = new Violations()

  constructor(
    private readonly permissions: Permissions,
    /** Whether a token opens a channel to a subscriber. */
    private readonly mayReceive: (subscriber: string, channel: string) => boolean,
  ) {}

  record(event: LedgerEvent): void {
    switch (event.type) {
      case 'sent':
        this.recordSent(event)
        break
      case 'acknowledged':
        this.recordAcknowledged(event)
        break
      case 'refused':
        this.counts.refused++
        break
      case 'repeated':
        this.recordRepeated(event)
        break
      case 'subscribed':
        this.recordSubscribed(event)
        break
      case 'delivered':
        this.recordDelivered(event)
        break
      case 'heard':
        this.recordHeard(event)
        break
      case 'disconnected':
        this.recordDisconnected(event)
        break
      case 'unsubscribed':
        this.recordUnsubscribed(event)
        break
      case 'ended':
        this.recordEnded(event)
        break
      case 'history':
        this.histories.push(event)
        break
      case 'counted':
        this.gaps.count(event.node, event.unrepairedGaps)
        break
    }
  }

  /** Judges the run. To be called once, when every client has had the time to receive what it is owed. */
  finish(): LedgerReport {
    for (const history of this.histories) this.checkHistory(history)
    this.checkLosses()
    for (const [subscriber, logs] of this.hearings) {
      for (const [channel, log] of logs) {
        for (const { property, text } of log.problems(this.sent)) {
          this.violations.add(property, channel, `${subscriber} ${text}`)
        }
      }
    }
    for (const text of this.gaps.differences()) this.violations.add('P10', '', text)
    return {
      ...this.counts,
      epochs: Math.max(0, ...[...this.channels.values()].map(({ epochs }) => epochs)),
      gapsTold: this.gaps.told,
      violations: this.violations.counts,
      described: this.violations.described,
    }
  }

  private recordSent({ id, channel, publisher, number, atMs }: EventOf<'sent'>): void {
    const sent = { id, channel, publisher, number, atMs, isAcknowledged: false, isRepeated: false }
    const publication: Sent = { ...sent, position: undefined }
    this.sent.set(id, publication)
    this.channel(channel).sent.push(publication)
  }

  private recordAcknowledged({ id, position }: EventOf<'acknowledged'>): void {
    const sent = this.sent.get(id)
    if (sent === undefined || sent.isAcknowledged) return
    sent.isAcknowledged = true
    this.counts.acknowledged++
    if (position !== undefined) this.place(sent.channel, position, id, 'its publisher')
  }

  private recordRepeated({ id }: EventOf<'repeated'>): void {
    const sent = this.sent.get(id)
    if (sent !== undefined) sent.isRepeated = true
  }

  private recordSubscribed(event: EventOf<'subscribed'>): void {
    const { atMs, subscriber, channel, position, from, recovered, publications } = event
    const log = this.subscription(subscriber, channel)
    log.state = 'subscribed'
    if (from === undefined || !recovered) {
      log.note(
        from === undefined
          ? `subscribed at ${shown(position)}`
          : `asked from ${shown(from)}, not recovered, at ${shown(position)}`,
      )
      if (from !== undefined) this.checkRefusal(event, log)
      log.tell(atMs, position)
      return
    }
    this.counts.recoveries++
    this.counts.recoverable++
    log.note(`asked from ${shown(from)}, recovered ${publications.length} up to ${shown(position)}`)
    log.goOn(from)
    this.checkRecovery(event, from, log)
    for (const { offset, id } of publications) this.receive(subscriber, channel, offset, id, log)
  }

  /** A client that is not recovered in the epoch that it knows could have been, and so could one whose epoch has to go on. */
  private checkRefusal(
    { subscriber, channel, position, from }: EventOf<'subscribed'>,
    log: SubscriptionLog,
  ): void {
    this.counts.told++
    const isSameEpoch = position.epoch === from?.epoch
    const { epochs, history, isRecoveryBounded = false } = this.permissions
    if (!isSameEpoch && epochs !== 'kept') return
    if (isSameEpoch && (history === 'evicted' || isRecoveryBounded)) return
    this.counts.recoverable++
    const what = isSameEpoch ? 'though its epoch goes on' : `in a new epoch ${position.epoch}`
    this.violations.add('P6', channel, `${subscriber} was not recovered ${what}`, log.trail)
  }

  /** The answer has the position that was asked for, or that of the last publication. */
  private checkRecovery(
    { subscriber, channel, position, publications }: EventOf<'subscribed'>,
    from: Position,
    log: SubscriptionLog,
  ): void {
    const last = from.offset + publications.length
    const isContiguous =
      publications.every(({ offset }, index) => offset === from.offset + 1 + index) &&
      (position.offset === from.offset || position.offset === last)
    log.isJustRecovered = true
    if (position.epoch === from.epoch && isContiguous) return
    const offsets = publications.map(({ offset }) => offset).join(', ')
    const text = `${subscriber} recovered from ${shown(from)} to ${shown(position)} with the offsets ${offsets}`
    this.violations.add('P5', channel, text, log.trail)
  }

  private recordDelivered({ subscriber, channel, offset, id }: EventOf<'delivered'>): void {
    const log = this.subscription(subscriber, channel)
    if (log.state === 'subscribed' || !this.isAllowed(subscriber, channel, id)) {
      const { offset: last } = log.position
      if (log.isJustRecovered && offset > last + 1) {
        const text = `${subscriber} recovered up to ${last}, and received ${offset} next`
        this.violations.add('P5', channel, text, log.trail)
      }
      log.isJustRecovered = false
      this.receive(subscriber, channel, offset, id, log)
    } else {
      this.violations.add('P8', channel, `${subscriber} received ${offset} while ${log.state}`, log.trail)
    }
  }

  private receive(
    subscriber: string,
    channel: string,
    offset: number,
    id: string,
    log: SubscriptionLog,
  ): void {
    this.counts.deliveries++
    if (!this.isAllowed(subscriber, channel, id)) {
      this.violateForeign(subscriber, channel, id)
      return
    }
    const { epoch } = log.position
    const problem = log.add(offset)
    if (problem === 'repeated')
      this.violations.add('P2', channel, `${subscriber} received ${epoch} ${offset} again`, log.trail)
    if (problem === 'reordered')
      this.violations.add('P3', channel, `${subscriber} received ${epoch} ${offset} late`, log.trail)
    this.place(channel, { epoch, offset }, id, subscriber)
  }

  private recordHeard({ subscriber, channel, id }: EventOf<'heard'>): void {
    this.counts.deliveries++
    if (!this.isAllowed(subscriber, channel, id)) {
      this.violateForeign(subscriber, channel, id)
      return
    }
    const logs = this.hearings.get(subscriber) ?? new Map<string, HearingLog>()
    this.hearings.set(subscriber, logs)
    const log = logs.get(channel) ?? new HearingLog()
    logs.set(channel, log)
    log.add(id)
  }

  private isAllowed(subscriber: string, channel: string, id: string): boolean {
    return this.sent.get(id)?.channel === channel && this.mayReceive(subscriber, channel)
  }

  private violateForeign(subscriber: string, channel: string, id: string): void {
    const of = this.sent.get(id)?.channel ?? 'nobody'
    this.violations.add('P7', channel, `${subscriber} received ${id}, of ${of}, in ${channel}`)
  }

  private recordDisconnected({ subscriber }: EventOf<'disconnected'>): void {
    for (const log of this.subscriptions.get(subscriber)?.values() ?? []) {
      if (log.state !== 'subscribed') continue
      log.state = 'away'
      log.note('disconnected')
    }
    for (const log of this.hearings.get(subscriber)?.values() ?? []) log.disconnect()
  }

  private recordUnsubscribed({ subscriber, channel }: EventOf<'unsubscribed'>): void {
    const log = this.subscription(subscriber, channel)
    log.state = 'unsubscribed'
    log.note('unsubscribed')
  }

  private recordEnded({ subscriber, channel, code, node }: EventOf<'ended'>): void {
    const log = this.subscription(subscriber, channel)
    log.state = 'ended'
    log.note(`ended with ${code} by ${node}`)
    this.gaps.tell(node, channel, subscriber, code)
  }

  private place(channel: string, position: Position, id: string, who: string): void {
    const other = this.channel(channel).place(position, id)
    if (other !== undefined) {
      this.violations.add('P4', channel, `${shown(position)} is ${other}, and ${id} for ${who}`)
      return
    }
    const sent = this.sent.get(id)
    if (sent === undefined) return
    if (sent.position?.epoch === position.epoch && sent.position.offset !== position.offset) {
      this.violations.add(
        'P2',
        channel,
        `${id} is in the stream at ${shown(sent.position)} and at ${shown(position)}`,
      )
    }
    sent.position ??= position
  }

  private checkHistory(history: EventOf<'history'>): void {
    const { channel, position, publications } = history
    const log = this.channel(channel)
    for (const { offset, id } of publications) {
      const at = { epoch: position.epoch, offset }
      const sent = this.sent.get(id)
      // After a failover the history has publications of ended epochs under the new one.
      if (sent !== undefined) sent.position ??= at
      const other = log.place(at, id)
      if (other === undefined) continue
      this.violations.add('P4', channel, `${shown(at)} was ${other}, and is ${id} in the history`)
    }
    for (const what of missingIn(history, log, this.permissions.history)) {
      this.violations.add('P9', channel, `${what} is not in the history`)
    }
  }

  private checkLosses(): void {
    for (const [subscriber, logs] of this.subscriptions) {
      for (const [channel, log] of logs) {
        for (const what of lostBy(log, this.channel(channel), this.sent)) {
          this.violations.add('P1', channel, `${subscriber} neither received ${what} nor was told`, log.trail)
        }
      }
    }
  }

  private channel(name: string): ChannelLog {
    const known = this.channels.get(name)
    if (known !== undefined) return known
    const log = new ChannelLog()
    this.channels.set(name, log)
    return log
  }

  private subscription(subscriber: string, channel: string): SubscriptionLog {
    let logs = this.subscriptions.get(subscriber)
    if (logs === undefined) {
      logs = new Map()
      this.subscriptions.set(subscriber, logs)
    }
    const known = logs.get(channel)
    if (known !== undefined) return known
    const log = new SubscriptionLog()
    logs.set(channel, log)
    return log
  }
}
