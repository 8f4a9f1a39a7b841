import { randomUUID } from 'node:crypto'
import type { Codec, Connection, ServerSubscription } from '../connection/connection.js'
import type { ConnectionSlots } from '../connection/connection-slots.js'
import type { Connections } from '../connection/connections.js'
import type { TimerHandler, TimerWheel } from '../connection/timer-wheel.js'
import type { Channels } from '../hub/channels.js'
import type { Hub } from '../hub/hub.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { PresenceAnnouncer } from '../presence/presence-announcer.js'
import { ABNORMAL_CLOSE, CLOSES, type Close, DISCONNECTS } from '../protocol/closes.js'
import type { Socket, SocketHandler } from '../transport/transport.js'

/** Closes that a client gives no reason for, or that a drain causes. */
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

/** What all sessions of a node use. */
export interface SessionContext {
  readonly connections: Connections
  readonly hub: Hub
  readonly slots: ConnectionSlots
  readonly channels: Channels
  readonly presenceAnnouncer: PresenceAnnouncer
  readonly wheel: TimerWheel
  readonly metrics: Metrics
  readonly log: Logger
}

/**
 * A connection's protocol state: how it is counted and logged, and the one way in which it ends. Sessions are small
 * objects, for a node has very many.
 */
export abstract class Session<C extends SessionContext = SessionContext>
  implements SocketHandler, TimerHandler, Connection
{
  /** Label of metrics and field of the log. */
  abstract readonly protocol: 'raw' | 'echo' | 'centrifuge'
  abstract readonly codec: Codec
  readonly client = randomUUID()
  socket: Socket | undefined
  wheelSlot: Set<TimerHandler> | undefined
  private openedMs = 0

  constructor(
    readonly context: C,
    /** Empty for an anonymous user, and before the client has authenticated. */
    public user: string,
  ) {}

  abstract message(data: Buffer, isBinary: boolean): void
  abstract markAlive(): void
  abstract onTimer(nowMs: number): number | undefined
  abstract isSubscribed(channel: string): boolean
  abstract readonly sessionId: string | undefined
  abstract subscribe(channel: string, options: ServerSubscription): Promise<void>
  abstract unsubscribe(channel: string, why: Close): boolean
  abstract pushMessage(data: string): boolean
  abstract refresh(expiresAtMs: number | undefined): void
  abstract shutDown(): void
  abstract notifyGap(channel: string): void
  /** The close for a client that leaves too much unread. */
  protected abstract readonly slowConsumerClose: Close
  /** Called when the socket is open. Returns in how many milliseconds the timer is to call first. */
  protected abstract onOpened(): number
  /** Called when the socket is closed: releases what the session acquired. */
  protected abstract onClosed(code: number, reason: string): void
  /** The channel for the log, where a session has just one. */
  abstract readonly channel: string | undefined

  opened(socket: Socket): void {
    const { connections, wheel, metrics, log } = this.context
    this.socket = socket
    // Rounded, like all times of sessions: V8 keeps a fraction in an object of its own.
    this.openedMs = Math.round(performance.now())
    connections.add(this)
    metrics.connections[this.protocol].value++
    metrics.connectionsOpened[this.protocol].value++
    log.debug(this.logFields(), 'connection opened')
    wheel.schedule(this, this.onOpened())
  }

  overflowed(): void {
    if (this.socket === undefined) return
    this.context.metrics.slowConsumerCloses.inc({ protocol: this.protocol })
    this.close(this.slowConsumerClose)
  }

  close(close: Close): void {
    this.socket?.close(close)
  }

  /** The one way in which a session ends, whichever side closed: releases all that `opened` and the handshake acquired. */
  closed(code: number, reason: string): void {
    const { connections, slots, wheel, metrics, log } = this.context
    this.socket = undefined
    wheel.cancel(this)
    connections.remove(this)
    this.onClosed(code, reason)
    slots.release()
    metrics.connections[this.protocol].value--
    metrics.countClose(this.protocol, code)
    const durationMs = Math.round(performance.now() - this.openedMs)
    // Ordinary closes come by the thousand, and a line for each would cost more than the connection did. Metrics count
    // them all.
    const level = ORDINARY_CLOSES.has(keyOf({ code, reason })) ? 'debug' : 'info'
    log[level]({ ...this.logFields(), code, reason, durationMs }, 'connection closed')
  }

  logFields() {
    const { protocol, client, user, channel } = this
    return { protocol, client, user, ...(channel !== undefined && { channel }) }
  }
}
