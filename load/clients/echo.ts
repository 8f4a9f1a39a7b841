/** A process of one client that measures how long a server takes to answer it (see requests.ts). */

import { WebSocket } from 'ws'
import { type Latencies, type Reply, type Request, serveRequests } from './requests.js'

/** Time between two messages. */
const INTERVAL_MS = 20

let latenciesMs: number[] = []

async function connect(url: string, headers: Record<string, string>): Promise<void> {
  const socket = new WebSocket(`${url}/echo`, { headers })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  socket.on('message', (data) => latenciesMs.push(performance.now() - Number(String(data))))
  setInterval(() => socket.send(String(performance.now())), INTERVAL_MS)
}

function takeLatencies(): Latencies {
  const sorted = latenciesMs.sort((a, b) => a - b)
  latenciesMs = []
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50Ms: at(0.5), p99Ms: at(0.99), longestMs: at(1) }
}

serveRequests(async (request: Request): Promise<Reply> => {
  switch (request.kind) {
    case 'echo':
      await connect(request.url, request.headers)
      return {}
    case 'latencies':
      return { latencies: takeLatencies() }
    default:
      throw new Error(`the echo client does not serve ${request.kind}`)
  }
})
