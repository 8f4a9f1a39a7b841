/** Measures the longest time for which something that should go on was not heard, from a moment on. */
export class Silence {
  private sinceMs: number | undefined
  private longestMs = 0

  /** Begins to measure: what was heard before counts as heard now. */
  begin(nowMs: number): void {
    this.sinceMs = nowMs
  }

  heard(nowMs: number): void {
    if (this.sinceMs === undefined) return
    this.longestMs = Math.max(this.longestMs, nowMs - this.sinceMs)
    this.sinceMs = nowMs
  }

  /** Ends to measure: what has not been heard again was silent until now. */
  end(nowMs: number): void {
    this.heard(nowMs)
    this.sinceMs = undefined
  }

  get ms(): number {
    return this.longestMs
  }
}
