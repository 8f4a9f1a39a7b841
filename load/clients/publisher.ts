/**
 * A process that publishes on a schedule (see requests.ts): an open model, in which the next message is sent even to a
 * server that falls behind, and each message contains when it was due. It is a process of its own so that the work of
 * thousands of subscribers cannot delay it.
 */
import { CentrifugeConnection, signToken } from './centrifuge-connection.js'
import { encodeMessage, monotonicMs } from './message.js'
import { RawConnection } from './raw-connection.js'
import { ReadBuffer } from './read-buffer.js'
import {
  type ConnectRequest,
  type PublishReport,
  type PublishRequest,
  type Reply,
  type Request,
  serveRequests,
} from './requests.js'

const buffer = new ReadBuffer()
let publishAll: ((payloads: readonly Buffer[]) => void) | undefined
let endReason: string | undefined

async function connect(request: ConnectRequest): Promise<void> {
  const [channel] = request.channels
  if (channel === undefined) throw new Error('no channel to publish to')
  const onEnd = (reason: string) => {
    endReason = reason
  }
  if (request.protocol === 'raw') {
    const target = { url: `${request.url}/ws/${channel}`, headers: request.credentials.headers }
    const raw = await RawConnection.open(target, buffer, { onPayload: () => undefined, onEnd })
    publishAll = (payloads) => raw.sendTexts(payloads)
    return
  }
  const token = signToken(request.credentials, 'publisher')
  const target = { url: request.url, token, channels: [] }
  const client = await CentrifugeConnection.open(target, buffer, { onPublication: () => undefined, onEnd })
  publishAll = (payloads) => client.publish(channel, payloads)
}

/** Sends every message that is due, all in one write, and then waits for the next. */
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
    default:
      throw new Error(`the publisher does not serve ${request.kind}`)
  }
}

serveRequests(handle)
