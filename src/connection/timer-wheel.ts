/** Is called back by a timer wheel. */
export interface TimerHandler {
  /** Returns in how many milliseconds to be called again; undefined: not again. */
  onTimer(nowMs: number): number | undefined
  /** Used by the wheel alone: the slot that contains this handler, so that the wheel needs no table of handlers. */
  wheelSlot?: Set<TimerHandler> | undefined
}

const DEFAULT_TICK_MS = 100
const SLOTS = 600
/** The longest step of the wheel's time, unless a tick is longer. A longer time was a stall, in which this process read nothing. */
const MAX_STEP_MS = 1_000

/**
 * One timer for all connections of a node.
 *
 * The wheel's time stands still while the process does: after a stop of 20 s, connections whose pongs wait unread in the
 * kernel have not timed out.
 */
export class TimerWheel {
  /** The wheel's time in milliseconds: starts anywhere, never jumps. */
  nowMs = 0
  private readonly slots = Array.from({ length: SLOTS }, () => new Set<TimerHandler>())
  private position = 0
  private lastTickMs: number
  private timer: NodeJS.Timeout | undefined

  constructor(
    private readonly clock: () => number = () => performance.now(),
    /** The wheel's precision: every handler is called at most this late. Each tick wakes the process. */
    private readonly tickMs = DEFAULT_TICK_MS,
    /** Called on each tick with how late it was. */
    private readonly onTick: (lateMs: number) => void = () => undefined,
  ) {
    this.lastTickMs = this.clock()
  }

  /**
   * The wheel's own time is up to a tick old; this one is never earlier than the true time, as long as ticks come in time.
   * After a stall both are late until the next tick.
   */
  get upperNowMs(): number {
    return this.nowMs + this.tickMs
  }

  start(): void {
    this.lastTickMs = this.clock()
    this.timer = setInterval(() => this.tick(), this.tickMs)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Calls `onTimer` in so many milliseconds, at most 599 ticks. Replaces an earlier schedule of the handler. */
  schedule(handler: TimerHandler, delayMs: number): void {
    this.cancel(handler)
    const dueTick = Math.ceil((this.nowMs + delayMs) / this.tickMs)
    const ticks = Math.min(SLOTS - 1, Math.max(1, dueTick - Math.floor(this.nowMs / this.tickMs)))
    const slot = this.slots[(this.position + ticks) % SLOTS]
    slot?.add(handler)
    handler.wheelSlot = slot
  }

  cancel(handler: TimerHandler): void {
    handler.wheelSlot?.delete(handler)
    handler.wheelSlot = undefined
  }

  /** Advances to the clock's time. The interval calls it; tests call it themselves. */
  tick(): void {
    const clockMs = this.clock()
    const targetMs = this.nowMs + Math.min(clockMs - this.lastTickMs, Math.max(MAX_STEP_MS, 2 * this.tickMs))
    this.onTick(Math.max(0, clockMs - this.lastTickMs - this.tickMs))
    this.lastTickMs = clockMs
    for (let tick = Math.floor(this.nowMs / this.tickMs) + 1; tick * this.tickMs <= targetMs; tick++) {
      this.nowMs = tick * this.tickMs
      this.advanceSlot()
    }
    this.nowMs = targetMs
  }

  private advanceSlot(): void {
    this.position = (this.position + 1) % SLOTS
    const slot = this.slots[this.position]
    if (slot === undefined) return
    for (const handler of [...slot]) {
      if (!slot.has(handler)) continue
      this.cancel(handler)
      const delayMs = handler.onTimer(this.nowMs)
      if (delayMs !== undefined) this.schedule(handler, delayMs)
    }
  }
}
