/** Descriptors kept back for Redis, logs, scrapes and requests that are not connections yet. */
export const RESERVED_DESCRIPTORS = 256

interface ReportWithLimits {
  userLimits?: { open_files?: { soft?: number | string } }
}

/** How many descriptors this process may open: the soft limit, which Node raises to the hard one at start; Infinity where there is none. */
export function descriptorLimit(): number {
  const report = process.report.getReport() as ReportWithLimits
  const limit = report.userLimits?.open_files?.soft
  return typeof limit === 'number' ? limit : Number.POSITIVE_INFINITY
}

/** Descriptors of the reserve that are for requests, and for handshakes that will be refused with an answer. */
const ANSWERING_DESCRIPTORS = 96
/** TCP connections of the internal listener. */
export const MAX_INTERNAL_SOCKETS = 64

/** The most TCP connections of the public listener: a little more than connections, so that what is refused is told why. */
export function mostSockets(limit = descriptorLimit()): number {
  return mostConnections(limit) + Math.min(ANSWERING_DESCRIPTORS, Math.floor(limit / 8))
}

/** The most connections that leave the reserve free: uWebSockets.js spins a full core once descriptors run out. */
export function mostConnections(limit = descriptorLimit()): number {
  const most = 1_000_000
  return Math.min(most, Math.max(Math.floor(limit / 2), limit - RESERVED_DESCRIPTORS))
}
