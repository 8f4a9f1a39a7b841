import { CLOSES, DISCONNECTS } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import { Session, type SessionContext } from './session.js'

/** What sessions that speak plain WebSocket share beside. */
export interface PlainSessionContext extends SessionContext {
  readonly maxMessageBytes: number
  readonly heartbeat: {
    /** How often a connection is looked at. */
    readonly checkIntervalMs: number
    /** Silence after which it is closed. */
    readonly timeoutMs: number
  }
}

/** A connection that speaks plain WebSocket: its heartbeat and its limit. */
export abstract class PlainSession extends Session<PlainSessionContext> {
  abstract override readonly protocol: 'raw' | 'echo'
  private lastHeardMs = 0
  /** In the wheel's time; undefined: the connection does not expire. */
  private expiresMs: number | undefined

  // What is the same for all is no field of each.
  get codec() {
    return 'raw' as const
  }

  /** The protocol knows no sessions. */
  get session(): undefined {
    return undefined
  }

  protected get slowClose() {
    return CLOSES.slowConsumer
  }

  /** A message within the limit. */
  protected abstract received(data: Buffer, isBinary: boolean): void

  message(data: Buffer, isBinary: boolean): void {
    const { metrics, maxMessageBytes } = this.context
    this.alive()
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

  subscribe(): Promise<void> {
    const why = `${this.protocol} connections are in the channel that they ask for, and in no other`
    return Promise.reject(errors.notAvailable(why))
  }

  /** The channel is what such a connection is for. */
  unsubscribe(channel: string): boolean {
    if (!this.isIn(channel)) return false
    this.close(CLOSES.unsubscribed)
    return true
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

  /** The protocol has no way to tell them from what is said in the channel. */
  pushMessage(): boolean {
    return false
  }

  shutDown(): void {
    this.close(CLOSES.goingAway)
  }

  /** The protocol has no way to tell, and no way to ask for what was missed. */
  missed(): void {}

  protected begin(): number {
    const { checkIntervalMs, timeoutMs } = this.context.heartbeat
    this.alive()
    return Math.min(checkIntervalMs, timeoutMs / 2)
  }
}
