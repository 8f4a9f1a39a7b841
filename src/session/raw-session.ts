import type { Identity } from '../auth/authenticator.js'
import type { NamespaceOptions } from '../channel/namespaces.js'
import { mayPublish } from '../channel/permissions.js'
import type { WatchedEvents } from '../connection/connection.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { CLOSES, type Close, DISCONNECTS } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import { Session, type SessionContext } from './session.js'

const PING = Buffer.from('ping')
const PONG = Buffer.from('pong')

/** What all raw sessions of a node use. */
export interface RawSessionContext extends SessionContext {
  readonly maxMessageBytes: number
  readonly heartbeat: {
    /** Time between two checks of a connection. */
    readonly checkIntervalMs: number
    /** Silence after which it is closed. */
    readonly timeoutMs: number
  }
}

/** The one subscription of a connection to `/ws/<channel>`, whose channel the hub has acquired for the session. */
export interface RawSubscription {
  readonly channel: string
  readonly namespace: NamespaceOptions
  readonly watched: WatchedEvents
}

/**
 * A connection that speaks plain WebSocket. One to `/ws/<channel>` has a subscription, and each of its frames is a
 * publication. One to `/echo` has none, and each frame is sent back, for probes and for measuring round trips.
 */
export class RawSession extends Session<RawSessionContext> {
  /** One line of JSON, from the token. */
  private readonly connInfo: string | undefined
  /** When the client last sent anything, in the wheel's time. */
  private lastReceivedMs = 0
  /** In the wheel's time; undefined: the connection does not expire. */
  private expiresMs: number | undefined

  constructor(
    context: RawSessionContext,
    identity: Pick<Identity, 'user' | 'info'>,
    private readonly subscription: RawSubscription | undefined,
  ) {
    super(context, identity.user)
    this.connInfo = identity.info
  }

  // Getters, since a field would take memory in every session.
  get protocol() {
    return this.subscription === undefined ? 'echo' : 'raw'
  }

  get codec() {
    return 'raw' as const
  }

  /** The protocol has no sessions. */
  get sessionId(): undefined {
    return undefined
  }

  get channel(): string | undefined {
    return this.subscription?.channel
  }

  protected get slowConsumerClose() {
    return CLOSES.slowConsumer
  }

  isSubscribed(channel: string): boolean {
    return channel === this.subscription?.channel
  }

  message(data: Buffer, isBinary: boolean): void {
    const { metrics, maxMessageBytes } = this.context
    this.markAlive()
    metrics.messagesReceived[this.protocol].value++
    if (data.byteLength <= maxMessageBytes) {
      if (this.subscription === undefined) this.socket?.send(data, isBinary)
      else this.handleFrame(this.subscription, data, isBinary)
      return
    }
    metrics.oversizedMessages.inc({ protocol: this.protocol })
    const { code, reason } = CLOSES.messageTooBig
    this.close({ code, reason: `${reason}: ${data.byteLength} bytes, the limit is ${maxMessageBytes}` })
  }

  markAlive(): void {
    this.lastReceivedMs = this.context.wheel.upperNowMs
  }

  onTimer(nowMs: number): number | undefined {
    const { checkIntervalMs, timeoutMs } = this.context.heartbeat
    const remainingMs = this.expiresMs === undefined ? Number.POSITIVE_INFINITY : this.expiresMs - nowMs
    if (remainingMs <= 0) {
      this.close(DISCONNECTS.connectionExpired)
      return undefined
    }
    const silenceMs = nowMs - this.lastReceivedMs
    if (silenceMs >= timeoutMs) {
      this.context.metrics.heartbeatTimeouts.inc({ protocol: this.protocol })
      this.close(CLOSES.heartbeatTimeout)
      return undefined
    }
    // Early enough for the next check to see the answer.
    if (silenceMs + Math.max(checkIntervalMs, timeoutMs / 2) >= timeoutMs) this.socket?.ping()
    return Math.min(checkIntervalMs, timeoutMs - silenceMs, remainingMs)
  }

  subscribe(): Promise<void> {
    const why = `${this.protocol} connections are in the channel that they ask for, and in no other`
    return Promise.reject(errors.notAvailable(why))
  }

  /** Closes the connection, which exists for the channel. */
  unsubscribe(channel: string): boolean {
    if (!this.isSubscribed(channel)) return false
    this.close(CLOSES.unsubscribed)
    return true
  }

  refresh(expiresAtMs: number | undefined): void {
    if (expiresAtMs === undefined) {
      this.expiresMs = undefined
      return
    }
    // Counted from now, since the clock of the machine may be set.
    const remainingMs = expiresAtMs - Date.now()
    if (remainingMs <= 0) {
      this.close(DISCONNECTS.connectionExpired)
      return
    }
    const { wheel } = this.context
    this.expiresMs = wheel.upperNowMs + remainingMs
    const delayMs = this.onTimer(wheel.nowMs)
    if (delayMs !== undefined) wheel.schedule(this, delayMs)
  }

  /** The protocol cannot mark such messages as different from publications. */
  pushMessage(): boolean {
    return false
  }

  override close(close: Close): void {
    if (this.subscription !== undefined) this.context.hub.flush(this.subscription.channel)
    super.close(close)
  }

  shutDown(): void {
    this.close(CLOSES.goingAway)
  }

  /** The protocol has no way to notify a client, nor for a client to ask for what it missed. */
  notifyGap(): void {}

  protected onOpened(): number {
    const { hub, presenceAnnouncer, heartbeat } = this.context
    if (this.subscription !== undefined) {
      const { channel, namespace, watched } = this.subscription
      hub.addSubscriber(channel, this, watched, false)
      presenceAnnouncer.joined(channel, this.info, namespace)
    }
    this.markAlive()
    return Math.min(heartbeat.checkIntervalMs, heartbeat.timeoutMs / 2)
  }

  protected onClosed(): void {
    if (this.subscription === undefined) return
    const { channel, namespace, watched } = this.subscription
    this.context.hub.removeSubscriber(channel, this, watched)
    this.context.presenceAnnouncer.left(channel, this.info, namespace)
  }

  private handleFrame({ channel, namespace }: RawSubscription, data: Buffer, isBinary: boolean): void {
    if (!isBinary && data.equals(PING)) {
      this.socket?.send(PONG, false)
      return
    }
    if (!mayPublish(namespace, { channel, user: this.user, isSubscribed: true })) {
      this.close(CLOSES.publishingDenied)
      return
    }
    if (namespace.publicationDataFormat === 'json' && (isBinary || !isJson(data))) {
      this.close(CLOSES.notJson)
      return
    }
    const { channels } = this.context
    const publication = { data, isBinary, isJson: false, excludedClient: this.client }
    // The protocol has no way to notify the client of a failure, which `publish` has counted and logged.
    channels.publish({ channel, source: 'raw', ...publication }).catch(() => undefined)
  }

  private get info(): ClientInfo {
    const { client, user, connInfo } = this
    return { client, user, connInfo, chanInfo: undefined }
  }
}

function isJson(data: Buffer): boolean {
  try {
    JSON.parse(data.toString())
    return true
  } catch {
    return false
  }
}
