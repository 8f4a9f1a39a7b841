/** Something that wants to be looked at now and then. */
export interface Timed {
  /** Looks, and says in how many milliseconds to look again; undefined: not again. */
  onTimer(nowMs: number): number | undefined
  /** The wheel's own: where it keeps this, so that it needs no table of all there are. */
  wheelSlot?: Set<Timed> | undefined
}

/** A wheel's tick unless told otherwise. */
const DEFAULT_TICK_MS = 100
const SLOTS = 600
/** The longest step of the wheel's time, unless a tick is longer. What is beyond it was a stall of this process, in which nobody was heard. */
const MAX_STEP_MS = 1_000

/**
 * One timer for all of a node's connections.
 *
 * Its time stands still while the process does: after a stop of 20 s, connections whose pongs wait unread in the
 * kernel are not taken for dead.
 */
export class TimerWheel {
  /** The wheel's time in milliseconds: starts anywhere, never jumps. */
  nowMs = 0
  private readonly slots = Array.from({ length: SLOTS }, () => new Set<Timed>())
  private position = 0
  private lastTickMs: number
  private timer: NodeJS.Timeout | undefined

  constructor(
    private readonly clock: () => number = () => performance.now(),
    /** How exact the wheel is: everything is called at most this late. Each tick wakes the process. */
    private readonly tickMs = DEFAULT_TICK_MS,
    /** Told with every tick how late it was. */
    private readonly ticked: (lateMs: number) => void = () => undefined,
  ) {
    this.lastTickMs = this.clock()
  }

  /** A time for what happens now that is never too early: the wheel's own is up to a tick old. */
  get laterThanNowMs(): number {
    return this.nowMs + this.tickMs
  }

  start(): void {
    this.lastTickMs = this.clock()
    this.timer = setInterval(() => this.tick(), this.tickMs)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Calls `onTimer` in so many milliseconds, instead of when it was going to be called before; 599 ticks at the most. */
  schedule(timed: Timed, delayMs: number): void {
    this.cancel(timed)
    const dueTick = Math.ceil((this.nowMs + delayMs) / this.tickMs)
    const ticks = Math.min(SLOTS - 1, Math.max(1, dueTick - Math.floor(this.nowMs / this.tickMs)))
    const slot = this.slots[(this.position + ticks) % SLOTS]
    slot?.add(timed)
    timed.wheelSlot = slot
  }

  cancel(timed: Timed): void {
    timed.wheelSlot?.delete(timed)
    timed.wheelSlot = undefined
  }

  /** Moves to the clock's time. Called by the timer; tests call it themselves. */
  tick(): void {
    const clockMs = this.clock()
    const targetMs = this.nowMs + Math.min(clockMs - this.lastTickMs, Math.max(MAX_STEP_MS, 2 * this.tickMs))
    this.ticked(Math.max(0, clockMs - this.lastTickMs - this.tickMs))
    this.lastTickMs = clockMs
    for (let tick = Math.floor(this.nowMs / this.tickMs) + 1; tick * this.tickMs <= targetMs; tick++) {
      this.nowMs = tick * this.tickMs
      this.turn()
    }
    this.nowMs = targetMs
  }

  private turn(): void {
    this.position = (this.position + 1) % SLOTS
    const slot = this.slots[this.position]
    if (slot === undefined) return
    for (const timed of [...slot]) {
      if (!slot.has(timed)) continue
      this.cancel(timed)
      const delayMs = timed.onTimer(this.nowMs)
      if (delayMs !== undefined) this.schedule(timed, delayMs)
    }
  }
}
