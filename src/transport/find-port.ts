import { createServer } from 'node:net'

/**
 * Resolves with the port to listen on: the given one, or a free one for 0. Rejects with a one-line message when it
 * can't be listened on. uWebSockets.js listens with SO_REUSEPORT, so that a second process on a taken port would
 * succeed and get half of the connections; for 0 the kernel may even choose such a port.
 */
export function findPort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'the port is taken by another process' : (error.code ?? error.message)
      reject(new Error(`cannot listen on ${host}:${port}: ${why}`, { cause: error }))
    })
    probe.listen({ host, port, exclusive: true }, () => {
      const address = probe.address()
      const found = address !== null && typeof address === 'object' ? address.port : port
      probe.close(() => resolve(found))
    })
  })
}
