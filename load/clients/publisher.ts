/**
 * A process that publishes on a schedule (see requests.ts): an open model, in which a server that falls behind is sent
 * the next message all the same, and the message says when it was due. It has its own process so that the work of
 * thousands of subscribers cannot delay it.
 */
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
let connection: RawConnection | undefined
let endReason: string | undefined

async function connect(request: ConnectRequest): Promise<void> {
  const target = { url: `${request.url}/ws/${request.rooms[0]}`, headers: request.headers }
  connection = await RawConnection.open(target, scratch, {
    onPayload: () => undefined,
    onEnd: (why) => {
      endReason = why
    },
  })
}

async function publish(request: PublishRequest): Promise<PublishReport> {
  if (connection === undefined) throw new Error('connect first')
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
    connection.sendTexts(payloads)
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
    case 'expect':
    case 'tally':
      throw new Error('the publisher does not subscribe')
  }
}

serveRequests(handle)
