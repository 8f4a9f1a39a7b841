import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * This and the range above it are below the ports that systems give to outgoing connections, one of which could be
 * taken before a server listens on it.
 */
const FIRST_PORT = 10_000
/** vitest runs test files in processes that it numbers from 1; each takes its ports from a range of its own. */
const PORTS_PER_PROCESS = 2_000
const PROCESSES = 11
const processNumber = Number(process.env['VITEST_POOL_ID'] ?? 0) % PROCESSES
const returned = new Set<number>()

/**
 * Resolves with a TCP port of 127.0.0.1 that was free a moment ago; the same one is not returned twice before all of
 * the range were.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    // A process that starts servers for hours has had all of them, and has ended most of its servers since.
    if (returned.size === PORTS_PER_PROCESS) returned.clear()
    const port = FIRST_PORT + processNumber * PORTS_PER_PROCESS + randomInt(PORTS_PER_PROCESS)
    if (returned.has(port)) continue
    returned.add(port)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
