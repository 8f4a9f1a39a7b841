import { WebSocket } from 'ws'
import type { Child } from '../deploy/local/child-process.js'

/**
 * The environment in which a server has to be started so that `collectGarbage` works: the inspector, which SIGUSR1
 * opens, listens on any free port.
 */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=0' }

/**
 * Makes a Node process that was started with INSPECTABLE collect all of its garbage. Without that, garbage of handshakes
 * stays resident for seconds or minutes, until V8 decides to collect it, and would be counted as memory of connections.
 */
export async function collectGarbage(child: Child): Promise<void> {
  child.kill('SIGUSR1')
  const line = await child.line(/^Debugger listening on ws:/)
  const inspector = new WebSocket(line.slice(line.indexOf('ws:')))
  try {
    await new Promise<void>((resolve, reject) => {
      inspector.once('error', reject)
      inspector.once('message', () => resolve())
      inspector.once('open', () =>
        inspector.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' })),
      )
    })
  } finally {
    inspector.terminate()
  }
}
