import { createServer } from 'node:net'

/**
 * Rejects, in one line, when an address can't be listened on. uWebSockets.js listens with SO_REUSEPORT, so that a second
 * process on a taken port would succeed and get half of the connections.
 */
export function refuseTakenPort(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'the port is taken by another process' : (error.code ?? error.message)
      reject(new Error(`cannot listen on ${host}:${port}: ${why}`))
    })
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()))
  })
}
