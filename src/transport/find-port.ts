import { createServer } from 'node:net'

/**
 * Resolves with the port to listen on: the one given, or a free one for 0. Rejects, in one line, when it can't be
 * listened on. uWebSockets.js listens with SO_REUSEPORT, so that a second process on a taken port would succeed and get
 * half of the connections; the kernel even hands out such a port for 0.
 */
export function findPort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'the port is taken by another process' : (error.code ?? error.message)
      reject(new Error(`cannot listen on ${host}:${port}: ${why}`))
    })
    probe.listen({ host, port, exclusive: true }, () => {
      const address = probe.address()
      const found = address !== null && typeof address === 'object' ? address.port : port
      probe.close(() => resolve(found))
    })
  })
}
