import { setTimeout as sleep } from 'node:timers/promises'
import type { Connections } from '../connection/connections.js'

/** Connections are never closed slower than this, so that stopping a node with few of them is quick. */
export const LEAST_CLOSES_PER_SECOND = 100
const STEP_MS = 50

/** How long closing so many connections takes: over the window, or less where they are few. */
export function drainDurationMs(connections: number, windowMs: number): number {
  return Math.min(windowMs, (connections * 1_000) / LEAST_CLOSES_PER_SECOND)
}

/** Closes every connection, in random order, spread over the window so that clients do not reconnect all at once. */
export async function closeAll(open: Connections, windowMs: number): Promise<void> {
  while (open.count > 0) {
    const connections = shuffle([...open])
    const steps = Math.max(1, Math.floor(drainDurationMs(connections.length, windowMs) / STEP_MS))
    const startMs = performance.now()
    for (let step = 0; step < steps; step++) {
      const from = Math.floor((connections.length * step) / steps)
      const to = Math.floor((connections.length * (step + 1)) / steps)
      for (const connection of connections.slice(from, to)) connection.shutDown()
      // At a random point of each step, on a schedule: nodes that stop together do not close in step.
      const nextMs = startMs + (step + 0.5 + Math.random() / 2) * STEP_MS
      if (step + 1 < steps) await sleep(Math.max(0, nextMs - performance.now()))
    }
    if (open.count > 0) await sleep(STEP_MS)
  }
}

function shuffle<T>(items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const chosen = Math.floor(Math.random() * (last + 1))
    const [a, b] = [items[last], items[chosen]]
    if (a !== undefined && b !== undefined) [items[last], items[chosen]] = [b, a]
  }
  return items
}
