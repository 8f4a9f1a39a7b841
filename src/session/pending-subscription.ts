import { keepsStream, type NamespaceOptions } from '../channel/namespaces.js'
import type { WatchedEvents } from '../connection/connection.js'
import type { PublicationBuffer } from '../hub/publication-buffer.js'
import { CloseConnection, DISCONNECTS } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import { jsonText } from '../protocol/json-text.js'
import type { JsonValue } from '../protocol/json-writer.js'
import type { StreamPosition } from '../protocol/publication.js'
import { publicationJson } from '../protocol/pushes.js'
import type { SubscriptionOwner } from './client-connection.js'
import { expiryFields } from './expiry.js'
import { StreamReader, type StreamStart } from './stream-reader.js'
import type { Subscription } from './subscription.js'

/** Reads of a stream that grows faster than this node receives it, before the client is asked to try again. */
const MAX_READS = 3
/** Attempts to join after reading, before the client is asked to try again. */
const MAX_ATTEMPTS = 5
/** The outcome of most subscriptions. */
const EMPTY_OUTCOME: SubscribeOutcome = { result: {}, publications: [], bytes: 0 }
const WATCH_NONE: WatchedEvents = { join: false, leave: false }
const WATCH_ALL: WatchedEvents = { join: true, leave: true }

export interface SubscriptionOptions {
  readonly channel: string
  readonly namespace: NamespaceOptions
  readonly isServerSide: boolean
  readonly wantsJoinLeave: boolean
  readonly wantsPosition: boolean
  readonly wantsRecovery: boolean
  /** The client's last position; undefined: it is new. */
  readonly since: StreamPosition | undefined
  /** One line of JSON each. */
  readonly chanInfo: string | undefined
  readonly data: string | undefined
  /** Unix time in milliseconds. */
  readonly expiresAtMs: number | undefined
}

/** What the client receives for its new subscription. */
export interface SubscribeOutcome {
  /** Fields of the result, but for the publications. */
  readonly result: { readonly [field: string]: JsonValue }
  /** The missed publications, in order. */
  readonly publications: readonly JsonValue[]
  /** Bytes of those, about. */
  readonly bytes: number
}

/** Outcomes by channel. */
export type SubscribeOutcomes = ReadonlyMap<string, SubscribeOutcome>

/** A subscription in progress: either `join` completes it, or `abort` releases what it has acquired. */
export class PendingSubscription {
  private readonly subscription: Subscription
  private readonly isRecoverable: boolean
  /** The broker's subscription of this node to the channel, where it has to be awaited. */
  private acquired: Promise<void> | undefined
  private buffer: PublicationBuffer | undefined
  private reader: StreamReader | undefined
  private start: StreamStart | undefined

  private constructor(
    private readonly owner: SubscriptionOwner,
    private readonly options: SubscriptionOptions,
  ) {
    const { namespace } = options
    const keepsHistory = keepsStream(namespace)
    this.isRecoverable = keepsHistory && (options.wantsRecovery || namespace.forceRecovery)
    const isPositioned = keepsHistory && (options.wantsPosition || namespace.forcePositioning)
    const watchesEvents = namespace.joinLeave && (options.wantsJoinLeave || namespace.forcePushJoinLeave)
    this.subscription = {
      channel: options.channel,
      namespace,
      isServerSide: options.isServerSide,
      watched: watchesEvents ? WATCH_ALL : WATCH_NONE,
      isPositioned: isPositioned || this.isRecoverable,
      chanInfo: options.chanInfo,
      expiresAtMs: options.expiresAtMs,
      state: 'subscribing',
    }
  }

  /** Adds the subscription to its connection at once, so that a second one to the channel is refused. Throws errors 105, 106. */
  static begin(owner: SubscriptionOwner, options: SubscriptionOptions): PendingSubscription {
    if (owner.findSubscription(options.channel) !== undefined)
      throw errors.alreadySubscribed('this connection is in the channel')
    const { maxChannels, hub } = owner.context
    if (owner.subscriptions.length >= maxChannels) {
      throw errors.limitExceeded(`a connection may have ${maxChannels} subscriptions`)
    }
    const pending = new PendingSubscription(owner, options)
    owner.addSubscription(pending.subscription)
    // Acquired here and not by `prepare`, so that `abort` always releases it.
    pending.acquired = hub.acquire(options.channel)
    // `prepare` awaits it and handles its rejection; until then none may stay unhandled.
    pending.acquired?.catch(() => undefined)
    return pending
  }

  get channel(): string {
    return this.options.channel
  }

  /** Bytes that an answer to the client may have now. */
  get roomBytes(): number {
    return this.owner.roomBytes
  }

  /** Returns undefined where this node is subscribed to the channel and nothing has to be read. Rejects with a BrokerError. */
  prepare(): Promise<void> | undefined {
    if (this.acquired === undefined && !this.subscription.isPositioned) return undefined
    return this.acquireAndRead()
  }

  /**
   * Returns the outcome, if the subscription can join now; otherwise it has to `prepare` again. Until `join`, nothing may
   * be awaited. Missed publications of more than `maxBytes` are not recovered.
   */
  outcome(maxBytes: number): SubscribeOutcome | undefined {
    if (this.owner.socket === undefined) throw new CloseConnection(DISCONNECTS.connectionClosed)
    if (this.subscription.state === 'ended')
      throw errors.permissionDenied('the server has ended the subscription')
    this.start = this.reader?.start(maxBytes)
    if (this.reader !== undefined && !this.canStart(this.start)) return undefined
    const { data, since } = this.options
    const { expiresAtMs, isPositioned } = this.subscription
    if (!isPositioned && expiresAtMs === undefined && data === undefined && since === undefined)
      return EMPTY_OUTCOME
    const { position, publications = [], recovered, bytes = 0 } = this.start ?? {}
    const first = publications[0]?.position
    return {
      result: {
        ...expiryFields(expiresAtMs),
        recoverable: this.isRecoverable,
        positioned: isPositioned,
        epoch: position?.epoch,
        // Before the publications: a client advances with each that it handles, and may disconnect before the last.
        offset: first === undefined ? position?.offset : first.offset - 1,
        was_recovering: since !== undefined,
        recovered,
        data: jsonText(data),
      },
      publications: publications.map(publicationJson),
      bytes,
    }
  }

  join(): void {
    const { owner, subscription, options, start } = this
    // The connection was closed in this very tick.
    if (owner.socket === undefined) {
      this.abort()
      return
    }
    const { hub, presenceAnnouncer, metrics } = owner.context
    if (this.buffer !== undefined) hub.stopBuffering(options.channel, this.buffer, start?.position)
    hub.addSubscriber(options.channel, owner, subscription.watched, subscription.isPositioned)
    subscription.state = 'subscribed'
    if (options.since !== undefined && start !== undefined) {
      metrics.recoveries.inc({ result: start.recovered ? 'recovered' : 'not_recovered' })
    }
    presenceAnnouncer.joined(options.channel, owner.infoIn(subscription), options.namespace)
    if (subscription.expiresAtMs !== undefined) owner.rescheduleTimer()
  }

  abort(): void {
    const { owner, subscription, options } = this
    const { hub } = owner.context
    if (this.buffer !== undefined) hub.stopBuffering(options.channel, this.buffer, undefined)
    owner.removeSubscription(subscription)
    hub.release(options.channel)
  }

  private canStart(start: StreamStart | undefined): boolean {
    const { hub } = this.owner.context
    return start !== undefined && hub.canStartAt(this.options.channel, start.position)
  }

  private async acquireAndRead(): Promise<void> {
    const { owner, options } = this
    const { hub, broker, maxHistoryPublications, maxAnswerBytes } = owner.context
    await this.acquired
    this.acquired = undefined
    // Aborted meanwhile, or nothing to read.
    if (this.subscription.state === 'ended' || !this.subscription.isPositioned) return
    this.buffer ??= hub.startBuffering(options.channel)
    this.reader ??= new StreamReader({
      broker,
      channel: options.channel,
      namespace: options.namespace,
      buffer: this.buffer,
      since: options.since,
      maxPublications: maxHistoryPublications,
      maxBytes: maxAnswerBytes,
    })
    for (let reads = 0; reads < MAX_READS; reads++) {
      const top = await this.reader.read()
      // This node may have received less of the stream than there is, and other subscribers must not miss the rest.
      await hub.catchUp(options.channel, top)
      if (this.canStart(this.reader.start(owner.roomBytes))) return
    }
    throw errors.internal('the channel’s stream and what the relay delivered of it do not fit together')
  }
}

/** The result as a reply has it. */
export function subscribeResult({ result, publications }: SubscribeOutcome): JsonValue {
  return publications.length === 0 ? result : { ...result, publications }
}

/**
 * Subscribes a connection. Calls back with the outcome in the tick in which it joins. Returns undefined when it has joined
 * at once; throws or rejects with a ProtocolError, a BrokerError or a CloseConnection.
 */
export function subscribe(
  owner: SubscriptionOwner,
  options: SubscriptionOptions,
  onOutcome: (outcome: SubscribeOutcome) => void,
): Promise<void> | undefined {
  const pending = PendingSubscription.begin(owner, options)
  return joinAll([pending], (outcomes) => {
    for (const outcome of outcomes.values()) onOutcome(outcome)
  })
}

/**
 * Joins all subscriptions of one connection in the tick in which it calls back with their outcomes; none of them when one
 * fails. Returns undefined when they have joined at once.
 */
export function joinAll(
  all: readonly PendingSubscription[],
  onOutcomes: (outcomes: SubscribeOutcomes) => void,
): Promise<void> | undefined {
  const preparing = all.map((pending) => pending.prepare()).filter((one) => one !== undefined)
  if (preparing.length > 0) return joinPrepared(all, preparing, onOutcomes)
  try {
    if (!reportOutcomes(all, onOutcomes)) throw errors.internal('the channel’s stream moved on')
  } catch (error) {
    for (const pending of all) pending.abort()
    throw error
  }
  for (const pending of all) pending.join()
  return undefined
}

/**
 * Of the connections that prepare at the same time for a channel without subscribers, the first to join decides where
 * this node continues in the stream. One that has read further has to wait until this node has received as much.
 */
async function joinPrepared(
  all: readonly PendingSubscription[],
  preparing: readonly Promise<void>[],
  onOutcomes: (outcomes: SubscribeOutcomes) => void,
): Promise<void> {
  try {
    await Promise.all(preparing)
    for (let attempts = 1; !reportOutcomes(all, onOutcomes); attempts++) {
      if (attempts === MAX_ATTEMPTS) throw errors.internal('the channel’s stream moved on')
      await Promise.all(all.map((pending) => pending.prepare()))
    }
  } catch (error) {
    for (const pending of all) pending.abort()
    throw error
  }
  for (const pending of all) pending.join()
}

/** Calls back if all subscriptions can join now. Returns whether they can. */
function reportOutcomes(
  all: readonly PendingSubscription[],
  onOutcomes: (outcomes: SubscribeOutcomes) => void,
): boolean {
  const outcomes = new Map<string, SubscribeOutcome>()
  // One reply contains what all of them recover.
  let roomBytes = all[0]?.roomBytes ?? 0
  for (const pending of all) {
    const outcome = pending.outcome(roomBytes)
    if (outcome === undefined) return false
    roomBytes -= outcome.bytes
    outcomes.set(pending.channel, outcome)
  }
  onOutcomes(outcomes)
  return true
}
