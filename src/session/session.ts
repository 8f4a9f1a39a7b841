import { randomUUID } from 'node:crypto'
import type { Admission } from '../hub/admission.js'
import type { Hub, Member, ServerSubscription } from '../hub/hub.js'
import type { PresenceAnnouncer } from '../hub/presence-announcer.js'
import type { Publisher } from '../hub/publisher.js'
import type { Timed, TimerWheel } from '../hub/timer-wheel.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { CLOSES, type Close, DISCONNECTS } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import type { Socket, SocketHandler } from '../transport/transport.js'

/** What all sessions of a node share. */
export interface SessionContext {
  readonly hub: Hub
  readonly admission: Admission
  readonly publisher: Publisher
  readonly presence: PresenceAnnouncer
  readonly wheel: TimerWheel
  readonly metrics: Metrics
  readonly log: Logger
  readonly maxMessageBytes: number
  readonly heartbeat: {
    /** How often a connection is looked at. */
    readonly checkIntervalMs: number
    /** Silence after which it is closed. */
    readonly timeoutMs: number
  }
}

/** One connection that speaks plain WebSocket: its heartbeat, its limits, and its one way out. Small, for there are many. */
export abstract class Session implements SocketHandler, Timed, Member {
  abstract readonly protocol: 'raw' | 'echo'
  readonly client = randomUUID()
  socket: Socket | undefined
  /** In the wheel's time; undefined: the connection does not expire. */
  private expiresMs: number | undefined
  private lastHeardMs = 0
  private openedMs = 0

  constructor(
    protected readonly context: SessionContext,
    readonly user: string,
  ) {}

  /** A message within the limit. */
  protected abstract received(data: Buffer, isBinary: boolean): void
  protected abstract joined(): void
  protected abstract left(): void
  abstract isIn(channel: string): boolean
  /** For the log. */
  abstract readonly channel: string | undefined

  opened(socket: Socket): void {
    const { hub, wheel, heartbeat, metrics, log } = this.context
    this.socket = socket
    this.openedMs = performance.now()
    this.lastHeardMs = wheel.laterThanNowMs
    hub.add(this)
    wheel.schedule(this, Math.min(heartbeat.checkIntervalMs, heartbeat.timeoutMs / 2))
    metrics.connections.inc({ protocol: this.protocol })
    metrics.connectionsOpened.inc({ protocol: this.protocol })
    log.debug(this.facts(), 'connection opened')
    this.joined()
  }

  message(data: Buffer, isBinary: boolean): void {
    const { metrics, wheel, maxMessageBytes } = this.context
    this.lastHeardMs = wheel.laterThanNowMs
    metrics.messagesReceived[this.protocol].value++
    if (data.byteLength <= maxMessageBytes) {
      this.received(data, isBinary)
      return
    }
    metrics.oversizedMessages.inc({ protocol: this.protocol })
    const { code, reason } = CLOSES.messageTooBig
    this.close({ code, reason: `${reason}: ${data.byteLength} bytes, the limit is ${maxMessageBytes}` })
  }

  alive(): void {
    this.lastHeardMs = this.context.wheel.laterThanNowMs
  }

  overflowed(): void {
    if (this.socket === undefined) return
    this.context.metrics.slowConsumerCloses.inc({ protocol: this.protocol })
    this.close(CLOSES.slowConsumer)
  }

  /** The protocol knows no sessions. */
  get session(): undefined {
    return undefined
  }

  subscribe(_channel: string, _options: ServerSubscription): Promise<void> {
    const why = `${this.protocol} connections are in the channel that they ask for, and in no other`
    return Promise.reject(errors.notAvailable(why))
  }

  /** The channel is what such a connection is for. */
  unsubscribe(): void {
    this.close(CLOSES.unsubscribed)
  }

  refresh(expiresAtMs: number | undefined): void {
    if (expiresAtMs === undefined) {
      this.expiresMs = undefined
      return
    }
    // Counted from here, since the clock of the machine may be set.
    const remainingMs = expiresAtMs - Date.now()
    if (remainingMs <= 0) {
      this.close(DISCONNECTS.connectionExpired)
      return
    }
    const { wheel } = this.context
    this.expiresMs = wheel.laterThanNowMs + remainingMs
    const delayMs = this.onTimer(wheel.nowMs)
    if (delayMs !== undefined) wheel.schedule(this, delayMs)
  }

  onTimer(nowMs: number): number | undefined {
    const { checkIntervalMs, timeoutMs } = this.context.heartbeat
    const remainingMs = this.expiresMs === undefined ? Number.POSITIVE_INFINITY : this.expiresMs - nowMs
    if (remainingMs <= 0) {
      this.close(DISCONNECTS.connectionExpired)
      return undefined
    }
    const silenceMs = nowMs - this.lastHeardMs
    if (silenceMs >= timeoutMs) {
      this.context.metrics.heartbeatTimeouts.inc({ protocol: this.protocol })
      this.close(CLOSES.heartbeatTimeout)
      return undefined
    }
    // In time for the answer to be seen by the next check.
    if (silenceMs + Math.max(checkIntervalMs, timeoutMs / 2) >= timeoutMs) this.socket?.ping()
    return Math.min(checkIntervalMs, timeoutMs - silenceMs, remainingMs)
  }

  close(close: Close): void {
    this.socket?.close(close)
  }

  /** The one way out, whoever closed: everything that `opened` and the handshake took is given back here. */
  closed(code: number, reason: string): void {
    const { hub, admission, wheel, metrics, log } = this.context
    this.socket = undefined
    wheel.cancel(this)
    hub.remove(this)
    this.left()
    admission.leave()
    metrics.connections.dec({ protocol: this.protocol })
    metrics.closed(this.protocol, code)
    const durationMs = Math.round(performance.now() - this.openedMs)
    log.info({ ...this.facts(), code, reason, durationMs }, 'connection closed')
  }

  private facts() {
    const { protocol, client, user, channel } = this
    return { protocol, client, user, ...(channel !== undefined && { channel }) }
  }
}
