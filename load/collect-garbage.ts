import { WebSocket } from 'ws'
import type { Child } from '../test/support/child-process.js'

/**
 * What a server has to be started with so that its garbage can be collected from outside: the inspector, once asked
 * for by SIGUSR1, takes any free port.
 */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=0' }

/**
 * Makes a Node process that was started with INSPECTABLE collect all of its garbage. What handshakes leave behind
 * stays resident for seconds or minutes, whenever V8 finds it worth its time, and would be charged to connections.
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
