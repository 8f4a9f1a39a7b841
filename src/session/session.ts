import { randomUUID } from 'node:crypto'
import type { Admission } from '../hub/admission.js'
import type { Channels } from '../hub/channels.js'
import type { Hub, Member, ServerSubscription } from '../hub/hub.js'
import type { Codec } from '../hub/local-channel.js'
import type { PresenceAnnouncer } from '../hub/presence-announcer.js'
import type { Timed, TimerWheel } from '../hub/timer-wheel.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { ABNORMAL_CLOSE, CLOSES, type Close, DISCONNECTS } from '../protocol/closes.js'
import type { Socket, SocketHandler } from '../transport/transport.js'

/** Ends that a client gives no reason for, or that come of a drain. */
const ORDINARY_CLOSES: ReadonlySet<string> = new Set(
  [
    { code: 1000, reason: '' },
    { code: 1001, reason: '' },
    { code: 1005, reason: '' },
    { code: ABNORMAL_CLOSE, reason: '' },
    CLOSES.goingAway,
    DISCONNECTS.shutdown,
  ].map(keyOf),
)

function keyOf({ code, reason }: Close): string {
  return `${code} ${reason}`
}

/** What all sessions of a node share. */
export interface SessionContext {
  readonly hub: Hub
  readonly admission: Admission
  readonly channels: Channels
  readonly presence: PresenceAnnouncer
  readonly wheel: TimerWheel
  readonly metrics: Metrics
  readonly log: Logger
}

/** One connection: how it is counted and logged, and its one way out. Small, for there are many. */
export abstract class Session<C extends SessionContext = SessionContext>
  implements SocketHandler, Timed, Member
{
  /** Label of metrics and field of the log. */
  abstract readonly protocol: 'raw' | 'echo' | 'centrifuge'
  abstract readonly codec: Codec
  readonly client = randomUUID()
  socket: Socket | undefined
  wheelSlot: Set<Timed> | undefined
  private openedMs = 0

  constructor(
    protected readonly context: C,
    /** Empty for somebody without a name, and before it is known. */
    public user: string,
  ) {}

  abstract message(data: Buffer, isBinary: boolean): void
  abstract alive(): void
  abstract onTimer(nowMs: number): number | undefined
  abstract isIn(channel: string): boolean
  abstract readonly session: string | undefined
  abstract subscribe(channel: string, options: ServerSubscription): Promise<void>
  abstract unsubscribe(channel: string, why: Close): boolean
  abstract pushMessage(data: string): boolean
  abstract refresh(expiresAtMs: number | undefined): void
  abstract shutDown(): void
  abstract missed(channel: string): void
  /** How it is closed when it leaves too much unread. */
  protected abstract readonly slowClose: Close
  /** The socket is there. Returns in how many milliseconds to look at it first. */
  protected abstract begin(): number
  /** The socket is gone: gives back what the session took. */
  protected abstract end(code: number, reason: string): void
  /** The channel for the log, where there is just one. */
  abstract readonly channel: string | undefined

  opened(socket: Socket): void {
    const { hub, wheel, metrics, log } = this.context
    this.socket = socket
    // Whole, like all times of sessions: V8 keeps a fraction in an object of its own.
    this.openedMs = Math.round(performance.now())
    hub.add(this)
    metrics.connections[this.protocol].value++
    metrics.connectionsOpened[this.protocol].value++
    log.debug(this.facts(), 'connection opened')
    wheel.schedule(this, this.begin())
  }

  overflowed(): void {
    if (this.socket === undefined) return
    this.context.metrics.slowConsumerCloses.inc({ protocol: this.protocol })
    this.close(this.slowClose)
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
    this.end(code, reason)
    admission.leave()
    metrics.connections[this.protocol].value--
    metrics.closed(this.protocol, code)
    const durationMs = Math.round(performance.now() - this.openedMs)
    // They come by the thousand, and a line for each, written before anything else is done, would cost more than the
    // connection did. Metrics count them all.
    const level = ORDINARY_CLOSES.has(keyOf({ code, reason })) ? 'debug' : 'info'
    log[level]({ ...this.facts(), code, reason, durationMs }, 'connection closed')
  }

  protected facts() {
    const { protocol, client, user, channel } = this
    return { protocol, client, user, ...(channel !== undefined && { channel }) }
  }
}
