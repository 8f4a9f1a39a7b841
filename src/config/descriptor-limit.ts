/** Descriptors that connections leave free for Redis, logs, scrapes and requests that are not connections yet. */
export const RESERVED_DESCRIPTORS = 256

/** Descriptors of the reserve for requests, and for handshakes over the limit, which are refused with an answer. */
const REFUSAL_DESCRIPTORS = 96
/** The most TCP connections of the internal listener. */
export const MAX_INTERNAL_SOCKETS = 64
/** The most that `maxConnections` may be, also on a machine without a limit of descriptors. */
export const MAX_CONNECTIONS = 1_000_000

interface ReportWithLimits {
  userLimits?: { open_files?: { soft?: number | string } }
}

/**
 * How many descriptors this process may open: the soft limit, which Node raises to the hard one at start. Infinity if
 * there is no limit.
 */
export function descriptorLimit(): number {
  const report = process.report.getReport() as ReportWithLimits
  const limit = report.userLimits?.open_files?.soft
  return typeof limit === 'number' ? limit : Number.POSITIVE_INFINITY
}

/**
 * The most TCP connections of the public listener: a few more than WebSocket connections, so that a refused client gets
 * an answer.
 */
export function socketCapacity(limit = descriptorLimit()): number {
  return connectionCapacity(limit) + Math.min(REFUSAL_DESCRIPTORS, Math.floor(limit / 8))
}

/** The most connections that leave the reserve free: uWebSockets.js spins on a full core once descriptors run out. */
export function connectionCapacity(limit = descriptorLimit()): number {
  return Math.min(MAX_CONNECTIONS, Math.max(Math.floor(limit / 2), limit - RESERVED_DESCRIPTORS))
}
