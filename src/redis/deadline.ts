/** A timer that fires later than this was delayed by a stall of this process. */
const STALL_MS = 50
/** Time to read what arrived during a stall. */
const GRACE_MS = 250

/**
 * Calls back after so many milliseconds, or a moment later where this process stalled meanwhile: the awaited reply may
 * have arrived, unread. Returns a function that cancels the deadline.
 */
export function setDeadline(delayMs: number, onPassed: () => void): () => void {
  const dueMs = performance.now() + delayMs
  let timer = setTimeout(() => {
    if (performance.now() - dueMs < STALL_MS) onPassed()
    else timer = setTimeout(onPassed, GRACE_MS)
  }, delayMs)
  return () => clearTimeout(timer)
}
