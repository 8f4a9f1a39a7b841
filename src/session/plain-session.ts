import { CLOSES } from '../protocol/closes.js'
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
  readonly codec = 'raw'
  protected readonly slowClose = CLOSES.slowConsumer
  private lastHeardMs = 0

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
    const silenceMs = nowMs - this.lastHeardMs
    if (silenceMs >= timeoutMs) {
      this.context.metrics.heartbeatTimeouts.inc({ protocol: this.protocol })
      this.close(CLOSES.heartbeatTimeout)
      return undefined
    }
    // In time for the answer to be seen by the next check.
    if (silenceMs + Math.max(checkIntervalMs, timeoutMs / 2) >= timeoutMs) this.socket?.ping()
    return Math.min(checkIntervalMs, timeoutMs - silenceMs)
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
