import { setTimeout as sleep } from 'node:timers/promises'
import type { Connections } from '../connection/connections.js'

/** The least number of connections that are closed each second, so that stopping a node with few of them is quick. */
export const MIN_CLOSES_PER_SECOND = 100
const STEP_MS = 50

/** How long closing this many connections takes: the window, or less where they are few. */
export function drainDurationMs(connections: number, windowMs: number): number {
  return Math.min(windowMs, (connections * 1_000) / MIN_CLOSES_PER_SECOND)
}

/**
 * Closes every connection, in random order, spread over the window so that clients do not reconnect all at once. Repeats
 * that for connections that were established meanwhile. Resolves once none is left.
 */
export async function closeConnections(connections: Connections, windowMs: number): Promise<void> {
  while (connections.count > 0) {
    const shuffled = shuffle([...connections])
    const steps = Math.max(1, Math.floor(drainDurationMs(shuffled.length, windowMs) / STEP_MS))
    const startMs = performance.now()
    for (let step = 0; step < steps; step++) {
      const from = Math.floor((shuffled.length * step) / steps)
      const to = Math.floor((shuffled.length * (step + 1)) / steps)
      for (const connection of shuffled.slice(from, to)) connection.shutDown()
      // At a random time within the step, so that nodes that drain together do not close connections in lockstep; from
      // the start of the drain, so that delays do not add up.
      const nextMs = startMs + (step + 0.5 + Math.random() / 2) * STEP_MS
      if (step + 1 < steps) await sleep(Math.max(0, nextMs - performance.now()))
    }
    if (connections.count > 0) await sleep(STEP_MS)
  }
}

/** Shuffles in place (Fisher-Yates). */
function shuffle<T>(items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const chosen = Math.floor(Math.random() * (last + 1))
    const [a, b] = [items[last], items[chosen]]
    if (a !== undefined && b !== undefined) [items[last], items[chosen]] = [b, a]
  }
  return items
}
