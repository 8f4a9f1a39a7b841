/**
 * A process that publishes on a schedule (see requests.ts): an open model, in which a server that falls behind is sent
 * the next message all the same, and the message says when it was due. It has its own process so that the work of
 * thousands of subscribers cannot delay it.
 */
import { CentrifugeConnection, signToken } from './centrifuge-connection.js'
import { encodeMessage, monotonicMs } from './message.js'
import { RawConnection } from './raw-connection.js'
import {
  type ConnectRequest,
  type PublishReport,
  type PublishRequest,
  type Reply,
  type Request,
  serveRequests,
} from './requests.js'
import { Scratch } from './scratch.js'

const scratch = new Scratch()
let publishAll: ((payloads: readonly Buffer[]) => void) | undefined
let endReason: string | undefined

async function connect(request: ConnectRequest): Promise<void> {
  const [room] = request.rooms
  if (room === undefined) throw new Error('no room to publish to')
  const onEnd = (why: string) => {
    endReason = why
  }
  if (request.protocol === 'raw') {
    const target = { url: `${request.url}/ws/${room}`, headers: request.access.headers }
    const raw = await RawConnection.open(target, scratch, { onPayload: () => undefined, onEnd })
    publishAll = (payloads) => raw.sendTexts(payloads)
    return
  }
  const token = signToken(request.access, 'publisher')
  const target = { url: request.url, token, channels: [] }
  const client = await CentrifugeConnection.open(target, scratch, { onPublication: () => undefined, onEnd })
  publishAll = (payloads) => client.publish(room, payloads)
}

async function publish(request: PublishRequest): Promise<PublishReport> {
  if (publishAll === undefined) throw new Error('connect first')
  const intervalMs = 1000 / request.ratePerSecond
  let sent = 0
  let maxLateMs = 0
  while (sent < request.messages) {
    const dueMs = request.startMs + sent * intervalMs
    const nowMs = monotonicMs()
    if (dueMs > nowMs) {
      await new Promise((resolve) => setTimeout(resolve, dueMs - nowMs))
      continue
    }
    if (endReason !== undefined) throw new Error(`the publisher's connection ended: ${endReason}`)
    const dueCount = Math.min(Math.floor((nowMs - dueMs) / intervalMs) + 1, request.messages - sent)
    const payloads = Array.from({ length: dueCount }, (_, index) =>
      encodeMessage(request.first + sent + index, dueMs + index * intervalMs),
    )
    publishAll(payloads)
    sent += dueCount
    maxLateMs = Math.max(maxLateMs, nowMs - dueMs)
  }
  return { maxLateMs }
}

async function handle(request: Request): Promise<Reply> {
  switch (request.kind) {
    case 'connect':
      await connect(request)
      return {}
    case 'publish':
      return { published: await publish(request) }
    case 'disconnect':
    case 'expect':
    case 'tally':
      throw new Error('the publisher does not subscribe')
  }
}

serveRequests(handle)
