import { keepsStream, type NamespaceOptions } from '../channel/namespaces.js'
import type { Wishes } from '../hub/hub.js'
import type { PublicationBuffer } from '../hub/publication-buffer.js'
import { publicationJson } from '../hub/pushes.js'
import { Closing, DISCONNECTS } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import { type JsonValue, jsonText } from '../protocol/json-writer.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { ClientSession } from './client-session.js'
import { expiryOf } from './hooks.js'
import { StreamReader, type StreamStart } from './stream-start.js'
import type { Subscription } from './subscription.js'

/** Reads of a stream that keeps growing past what is heard of it, before the subscriber is told to try again. */
const MAX_READS = 3
/** Attempts to join after all was read, before the subscriber is told to try again. */
const MAX_ATTEMPTS = 5
/** What there is to tell of most subscriptions. */
const NOTHING: Subscribed = { result: {}, publications: [], bytes: 0 }
const NO_WISHES: Wishes = { join: false, leave: false }
const ALL_WISHES: Wishes = { join: true, leave: true }

export interface SubscriptionOptions {
  readonly channel: string
  readonly namespace: NamespaceOptions
  readonly isServerSide: boolean
  readonly wantsJoinLeave: boolean
  readonly wantsPosition: boolean
  readonly wantsRecovery: boolean
  /** Where it was; undefined: it is new. */
  readonly since: StreamPosition | undefined
  /** One line of JSON each. */
  readonly chanInfo: string | undefined
  readonly data: string | undefined
  /** Unix time in milliseconds. */
  readonly expiresAtMs: number | undefined
}

/** What a client is told of its new subscription. */
export interface Subscribed {
  /** Fields of the result, but for the publications. */
  readonly result: { readonly [field: string]: JsonValue }
  /** What it has missed, in order. */
  readonly publications: readonly JsonValue[]
  /** About what those take. */
  readonly bytes: number
}

/** A subscription on its way: either `join` ends it well, or `abort` gives back what it took. */
export class PendingSubscription {
  private readonly subscription: Subscription
  private readonly isRecoverable: boolean
  /** That this node hears the channel. */
  private heard: Promise<void> | undefined
  private buffer: PublicationBuffer | undefined
  private reader: StreamReader | undefined
  private startsAt: StreamStart | undefined

  private constructor(
    private readonly session: ClientSession,
    private readonly options: SubscriptionOptions,
  ) {
    const { namespace } = options
    const keepsHistory = keepsStream(namespace)
    this.isRecoverable = keepsHistory && (options.wantsRecovery || namespace.forceRecovery)
    const isPositioned = keepsHistory && (options.wantsPosition || namespace.forcePositioning)
    const hearsJoinLeave = namespace.joinLeave && (options.wantsJoinLeave || namespace.forcePushJoinLeave)
    this.subscription = {
      channel: options.channel,
      namespace,
      isServerSide: options.isServerSide,
      wishes: hearsJoinLeave ? ALL_WISHES : NO_WISHES,
      isPositioned: isPositioned || this.isRecoverable,
      chanInfo: options.chanInfo,
      expiresAtMs: options.expiresAtMs,
      state: 'subscribing',
    }
  }

  /**
   * Takes a place among the session's subscriptions, at once: whoever comes second is refused. Throws errors 105, 106.
   */
  static open(session: ClientSession, options: SubscriptionOptions): PendingSubscription {
    if (session.find(options.channel) !== undefined)
      throw errors.alreadySubscribed('this connection is in the channel')
    const { maxChannels, hub } = session.shared
    if (session.subscriptions.length >= maxChannels) {
      throw errors.limitExceeded(`a connection may have ${maxChannels} subscriptions`)
    }
    const pending = new PendingSubscription(session, options)
    session.addSubscription(pending.subscription)
    // Taken here and not by `prepare`, so that aborting always gives it back.
    pending.heard = hub.hold(options.channel)
    // Whoever prepares is told; until then nobody is listening.
    pending.heard?.catch(() => undefined)
    return pending
  }

  get channel(): string {
    return this.options.channel
  }

  /** Bytes that an answer to its client may have now. */
  get roomBytes(): number {
    return this.session.roomBytes
  }

  /** Nothing to wait for where this node hears the channel and nothing has to be read. */
  prepare(): Promise<void> | undefined {
    if (this.heard === undefined && !this.subscription.isPositioned) return undefined
    return this.read()
  }

  /**
   * The result for the client, if it can join now; otherwise `prepare` again. Until `join`, nothing may be awaited.
   * What takes more than `maxBytes` is not recovered.
   */
  subscribed(maxBytes: number): Subscribed | undefined {
    if (this.session.socket === undefined) throw new Closing(DISCONNECTS.connectionClosed)
    if (this.subscription.state === 'gone')
      throw errors.permissionDenied('the server has ended the subscription')
    this.startsAt = this.reader?.start(maxBytes)
    if (this.reader !== undefined && !this.fits(this.startsAt)) return undefined
    const { data, since } = this.options
    const { expiresAtMs, isPositioned } = this.subscription
    if (!isPositioned && expiresAtMs === undefined && data === undefined && since === undefined)
      return NOTHING
    const { position, publications = [], recovered, bytes = 0 } = this.startsAt ?? {}
    return {
      result: {
        expires: expiresAtMs !== undefined,
        ttl: expiresAtMs === undefined ? undefined : secondsUntil(expiresAtMs),
        recoverable: this.isRecoverable,
        positioned: isPositioned,
        epoch: position?.epoch,
        // Where it was: a client moves on with each publication that it takes, and may leave before the last.
        offset: position && position.offset - publications.length,
        was_recovering: since !== undefined,
        recovered,
        data: jsonText(data),
      },
      publications: publications.map(publicationJson),
      bytes,
    }
  }

  join(): void {
    const { session, subscription, options, startsAt } = this
    // Closed since, in this very tick.
    if (session.socket === undefined) {
      this.abort()
      return
    }
    const { hub, presence, metrics } = session.shared
    if (this.buffer !== undefined) hub.unbuffer(options.channel, this.buffer, startsAt?.position)
    hub.join(options.channel, session, subscription.wishes)
    subscription.state = 'subscribed'
    if (options.since !== undefined && startsAt !== undefined) {
      metrics.recoveries.inc({ result: startsAt.recovered ? 'recovered' : 'not_recovered' })
    }
    presence.joined(options.channel, session.infoIn(subscription), options.namespace)
    if (subscription.expiresAtMs !== undefined) session.lookAgain()
  }

  abort(): void {
    const { session, subscription, options } = this
    const { hub } = session.shared
    if (this.buffer !== undefined) hub.unbuffer(options.channel, this.buffer, undefined)
    session.removeSubscription(subscription)
    hub.release(options.channel)
  }

  private fits(start: StreamStart | undefined): boolean {
    const { hub } = this.session.shared
    return start !== undefined && hub.canBeginAt(this.options.channel, start.position)
  }

  private async read(): Promise<void> {
    const { session, options } = this
    const { hub, broker, maxHistoryPublications, maxAnswerBytes } = session.shared
    await this.heard
    this.heard = undefined
    // Aborted meanwhile, or nothing to read.
    if (this.subscription.state === 'gone' || !this.subscription.isPositioned) return
    this.buffer ??= hub.buffer(options.channel)
    const { channel, namespace, since } = options
    this.reader ??= new StreamReader(
      broker,
      channel,
      namespace,
      this.buffer,
      since,
      maxHistoryPublications,
      maxAnswerBytes,
    )
    for (let reads = 0; reads < MAX_READS; reads++) {
      const top = await this.reader.read()
      // This node may have heard less of the stream than it has, when others in the channel must not miss the rest.
      await hub.catchUp(channel, top)
      if (this.fits(this.reader.start(session.roomBytes))) return
    }
    throw errors.internal('the channel’s stream and what is heard of it do not fit together')
  }
}

/** The result as it stands in a reply. */
export function subscribeResult({ result, publications }: Subscribed): JsonValue {
  return publications.length === 0 ? result : { ...result, publications }
}

export function secondsUntil(timeMs: number): number {
  return Math.max(1, Math.ceil((timeMs - Date.now()) / 1_000))
}

/** When a subscription expires that an application let be. Throws error 110 when that is past. */
export function decidedExpiryOf(decision: { readonly expireAt?: number }): number | undefined {
  const expiresAtMs = expiryOf(decision)
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) {
    throw errors.expired('the application let it expire in the past')
  }
  return expiresAtMs
}

/** Subscribes, and calls back with the result in the tick in which the session joins. */
export function subscribe(
  session: ClientSession,
  options: SubscriptionOptions,
  done: (subscribed: Subscribed) => void,
): Promise<void> | undefined {
  const pending = PendingSubscription.open(session, options)
  return joinAll([pending], (told) => {
    for (const subscribed of told.values()) done(subscribed)
  })
}

/** What a client is told of its new subscriptions, by channel. */
export type Told = ReadonlyMap<string, Subscribed>

/**
 * Joins all subscriptions of one client in the tick in which it calls back with what the client is told; none of them
 * when one fails. Nothing to wait for where none has.
 */
export function joinAll(
  all: readonly PendingSubscription[],
  done: (told: Told) => void,
): Promise<void> | undefined {
  const preparing = all.map((pending) => pending.prepare()).filter((one) => one !== undefined)
  if (preparing.length > 0) return joinPrepared(all, preparing, done)
  try {
    if (!tell(all, done)) throw errors.internal('the channel’s stream moved on')
  } catch (error) {
    for (const pending of all) pending.abort()
    throw error
  }
  for (const pending of all) pending.join()
  return undefined
}

/**
 * Of those who prepared at the same time for a channel without members, the first to join decides where this node goes
 * on in the stream; another who has read further has to wait until this node has heard as much.
 */
async function joinPrepared(
  all: readonly PendingSubscription[],
  preparing: readonly Promise<void>[],
  done: (told: Told) => void,
): Promise<void> {
  try {
    await Promise.all(preparing)
    for (let attempts = 1; !tell(all, done); attempts++) {
      if (attempts === MAX_ATTEMPTS) throw errors.internal('the channel’s stream moved on')
      await Promise.all(all.map((pending) => pending.prepare()))
    }
  } catch (error) {
    for (const pending of all) pending.abort()
    throw error
  }
  for (const pending of all) pending.join()
}

/** Calls back if all of them can join now; whether they can. */
function tell(all: readonly PendingSubscription[], done: (told: Told) => void): boolean {
  const told = new Map<string, Subscribed>()
  // One reply holds what all of them recover.
  let roomBytes = all[0]?.roomBytes ?? 0
  for (const pending of all) {
    const subscribed = pending.subscribed(roomBytes)
    if (subscribed === undefined) return false
    roomBytes -= subscribed.bytes
    told.set(pending.channel, subscribed)
  }
  done(told)
  return true
}
