/** A process of thousands of subscribers, which checks what they receive (see requests.ts). */

import { CentrifugeConnection, signToken } from './centrifuge-connection.js'
import { DeliveryLedger } from './delivery-ledger.js'
import { monotonicMs } from './message.js'
import { RawConnection } from './raw-connection.js'
import { ReadBuffer } from './read-buffer.js'
import { type ConnectRequest, type Reply, type Request, serveRequests } from './requests.js'

/** Concurrent handshakes: below the listen backlog, and enough that the clients wait for the server. */
const CONCURRENT_HANDSHAKES = 400

const buffer = new ReadBuffer()
let ledger = new DeliveryLedger(0, buffer)
let connections: { close(): Promise<void> }[] = []

/** Returns how long it took, in ms. */
async function connectAll(request: ConnectRequest): Promise<number> {
  ledger = new DeliveryLedger(request.connections, buffer)
  // All tokens are signed before the first handshake: signing in between would make the server wait.
  const connectors = Array.from({ length: request.connections }, (_, subscriber) =>
    prepare(request, subscriber),
  ).values()
  const connectInTurn = async () => {
    for (const connect of connectors) connections.push(await connect())
  }
  const startMs = monotonicMs()
  await Promise.all(Array.from({ length: CONCURRENT_HANDSHAKES }, connectInTurn))
  return monotonicMs() - startMs
}

async function disconnectAll(): Promise<void> {
  const closing = connections.map((connection) => connection.close())
  connections = []
  await Promise.all(closing)
}

/** Returns the function that opens a subscriber's connection. */
function prepare(request: ConnectRequest, subscriber: number): () => Promise<{ close(): Promise<void> }> {
  const { url, credentials, protocol, channels, channelsPerClient } = request
  const record = (at: number, lengthBytes: number) => ledger.record(subscriber, at, lengthBytes)
  const onEnd = (reason: string) => ledger.recordEnd(reason)
  if (protocol === 'raw') {
    const target = {
      url: `${url}/ws/${channels[subscriber % channels.length]}`,
      headers: credentials.headers,
    }
    return () => RawConnection.open(target, buffer, { onPayload: record, onEnd })
  }
  const subscribed = Array.from(
    { length: channelsPerClient },
    (_, index) => channels[(subscriber + index) % channels.length] ?? '',
  )
  const target = { url, token: signToken(credentials, `user-${subscriber}`), channels: subscribed }
  return () => CentrifugeConnection.open(target, buffer, { onPublication: record, onEnd })
}

/** Resolves when every expected delivery has arrived, at the latest at the deadline. */
function completeOr(deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(resolve, deadlineMs - monotonicMs())
    ledger.whenComplete(() => {
      clearTimeout(deadline)
      resolve()
    })
  })
}

async function handle(request: Request): Promise<Reply> {
  switch (request.kind) {
    case 'connect':
      return { connectedInMs: await connectAll(request) }
    case 'disconnect':
      await disconnectAll()
      return {}
    case 'expect':
      ledger.expect(request.first, request.messages)
      return {}
    case 'report':
      await completeOr(request.deadlineMs)
      return { deliveries: ledger.report() }
    default:
      throw new Error(`subscribers do not serve ${request.kind}`)
  }
}

serveRequests(handle)
