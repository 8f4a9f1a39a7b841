/** A process that holds thousands of subscribers and checks what they receive (see requests.ts). */

import { CentrifugeConnection, signToken } from './centrifuge-connection.js'
import { monotonicMs } from './message.js'
import { RawConnection } from './raw-connection.js'
import { type ConnectRequest, type Reply, type Request, serveRequests } from './requests.js'
import { Scratch } from './scratch.js'
import { Tally } from './tally.js'

/** Handshakes under way at once: well below any listen backlog. */
const HANDSHAKES_AT_ONCE = 50

/** Ports that one source address may use up before the next one takes over; Linux offers 28,000 by default. */
const CONNECTIONS_PER_ADDRESS = 10_000

const scratch = new Scratch()
let tally = new Tally(0, scratch)

async function connectAll(request: ConnectRequest): Promise<void> {
  tally = new Tally(request.connections, scratch)
  let next = 0
  const connectInTurn = async () => {
    while (next < request.connections) {
      const subscriber = next
      next += 1
      await connectOne(request, subscriber)
    }
  }
  await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, connectInTurn))
}

async function connectOne(request: ConnectRequest, subscriber: number): Promise<void> {
  const { url, access, protocol, rooms, roomsEach } = request
  const localAddress = `127.0.0.${1 + Math.floor(subscriber / CONNECTIONS_PER_ADDRESS)}`
  const deliver = (at: number, lengthBytes: number) => tally.deliver(subscriber, at, lengthBytes)
  const onEnd = (why: string) => tally.end(why)
  if (protocol === 'raw') {
    const target = {
      url: `${url}/ws/${rooms[subscriber % rooms.length]}`,
      headers: access.headers,
      localAddress,
    }
    await RawConnection.open(target, scratch, { onPayload: deliver, onEnd })
    return
  }
  const channels = Array.from(
    { length: roomsEach },
    (_, index) => rooms[(subscriber + index) % rooms.length] ?? '',
  )
  const target = { url, token: signToken(access, `user-${subscriber}`), channels, localAddress }
  await CentrifugeConnection.open(target, scratch, { onPublication: deliver, onEnd })
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
      await connectAll(request)
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
