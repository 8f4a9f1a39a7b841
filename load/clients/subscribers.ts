/** A process that holds thousands of subscribers and checks what they receive (see requests.ts). */

import { CentrifugeConnection, signToken } from './centrifuge-connection.js'
import { monotonicMs } from './message.js'
import { RawConnection } from './raw-connection.js'
import { type ConnectRequest, type Reply, type Request, serveRequests } from './requests.js'
import { Scratch } from './scratch.js'
import { DeliveryLedger } from './tally.js'

/** Handshakes under way at once: below the listen backlog, and enough for a server to be the one that is waited for. */
const HANDSHAKES_AT_ONCE = 400

const scratch = new Scratch()
let tally = new DeliveryLedger(0, scratch)
let connections: { close(): Promise<void> }[] = []

/** Returns how long it took, in ms. */
async function connectAll(request: ConnectRequest): Promise<number> {
  tally = new DeliveryLedger(request.connections, scratch)
  // Before the first of them connects: whoever signs meanwhile keeps the server waiting.
  const opening = Array.from({ length: request.connections }, (_, subscriber) =>
    prepare(request, subscriber),
  ).values()
  const connectInTurn = async () => {
    for (const open of opening) connections.push(await open())
  }
  const startMs = monotonicMs()
  await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, connectInTurn))
  return monotonicMs() - startMs
}

async function disconnectAll(): Promise<void> {
  const closing = connections.map((connection) => connection.close())
  connections = []
  await Promise.all(closing)
}

/** What opens a subscriber's connection. */
function prepare(request: ConnectRequest, subscriber: number): () => Promise<{ close(): Promise<void> }> {
  const { url, access, protocol, rooms, roomsEach } = request
  const deliver = (at: number, lengthBytes: number) => tally.deliver(subscriber, at, lengthBytes)
  const onEnd = (why: string) => tally.end(why)
  if (protocol === 'raw') {
    const target = {
      url: `${url}/ws/${rooms[subscriber % rooms.length]}`,
      headers: access.headers,
    }
    return () => RawConnection.open(target, scratch, { onPayload: deliver, onEnd })
  }
  const channels = Array.from(
    { length: roomsEach },
    (_, index) => rooms[(subscriber + index) % rooms.length] ?? '',
  )
  const target = { url, token: signToken(access, `user-${subscriber}`), channels }
  return () => CentrifugeConnection.open(target, scratch, { onPublication: deliver, onEnd })
}

function completeOr(deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(resolve, deadlineMs - monotonicMs())
    tally.whenComplete(() => {
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
      tally.begin(request.first, request.messages)
      return {}
    case 'tally':
      await completeOr(request.deadlineMs)
      return { tally: tally.report() }
    case 'publish':
      throw new Error('subscribers do not publish')
  }
}

serveRequests(handle)
