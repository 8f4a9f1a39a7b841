import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below the ports that systems give to outgoing connections: one of those could be taken by the time it is listened on. */
const FIRST_PORT = 10_000
/** Test files run in processes of their own, numbered from 1: each takes its ports from a range of its own. */
const PORTS_PER_PROCESS = 2_000
const PROCESSES = 11
const processNumber = Number(process.env['VITEST_POOL_ID'] ?? 0) % PROCESSES
const given = new Set<number>()

/** A TCP port of 127.0.0.1 that was free a moment ago, and is given only once. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + processNumber * PORTS_PER_PROCESS + randomInt(PORTS_PER_PROCESS)
    if (given.has(port)) continue
    given.add(port)
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
