/**
 * A node as the relay knows it: a process that publishes to channels and is subscribed to all of them (see requests.ts).
 * It has a broker and no sockets, since only what Redis does is measured: clients and their protocol would cost the
 * machine far more than Redis, and take the rate that it is measured at.
 */
import { randomUUID } from 'node:crypto'
import { setImmediate as nextIteration } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { composeRelay } from '../../src/compose-relay.js'
import { parseRedisAddresses } from '../../src/config/redis-address.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import { MESSAGE_BYTES, monotonicMs } from '../clients/message.js'
import { serveRequests } from '../clients/requests.js'
import type { PublishedReport, ReceivedReport, RelayReply, RelayRequest, Transport } from './requests.js'

/** Above what a burst of publications at the highest rate can queue, so that none is refused for its size. */
const QUEUE_BYTES = 256 * 1024 ** 2
/** Time between two attempts to subscribe while the connection to Redis is being made. */
const SUBSCRIBE_RETRY_MS = 50

/** What carries publications between nodes. */
interface Relay {
  /** Rejects where Redis did not take it. */
  publish(channel: string, payload: Buffer): Promise<unknown>
  /** Messages of Redis that publications have left in. */
  messages(): number
}

type Receive = (channel: string, payload: Uint8Array) => void
type OpenRequest = Extract<RelayRequest, { kind: 'open' }>
type PublishRequest = Extract<RelayRequest, { kind: 'publish' }>
type ReportRequest = Extract<RelayRequest, { kind: 'report' }>

/** A payload is the number of its publisher, its sequence number and dots. */
function payloadOf(node: number, sequence: number): Buffer {
  const payload = Buffer.alloc(MESSAGE_BYTES, '.')
  payload[0] = node
  payload.writeUInt32BE(sequence, 1)
  return payload
}

/** Counts what arrives, and compares it with what each publisher sends to each channel. */
class Arrivals {
  verified = 0
  wrong = 0
  private readonly next = new Map<string, number>()
  private target = Number.POSITIVE_INFINITY
  private reached: () => void = () => undefined

  constructor(private readonly channels: readonly string[]) {}

  readonly add: Receive = (channel, payload) => {
    const node = payload[0] ?? 0
    const sequence = new DataView(payload.buffer, payload.byteOffset).getUint32(1)
    const key = `${node} ${channel}`
    const expected = this.next.get(key) ?? this.channels.indexOf(channel)
    if (sequence === expected) this.verified++
    else this.wrong++
    this.next.set(key, Math.max(expected, sequence + this.channels.length))
    if (this.verified + this.wrong >= this.target) this.reached()
  }

  /** Resolves when this many have arrived since the last report, or at the deadline (monotonic ms). */
  async report(count: number, deadlineMs: number): Promise<ReceivedReport> {
    if (this.verified + this.wrong < count) {
      await new Promise<void>((resolve) => {
        this.target = count
        const timer = setTimeout(resolve, deadlineMs - monotonicMs())
        this.reached = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    const { verified, wrong } = this
    this.target = Number.POSITIVE_INFINITY
    this.verified = 0
    this.wrong = 0
    return { verified, wrong }
  }
}

const OPEN: Readonly<Record<Transport, (request: OpenRequest, receive: Receive) => Promise<Relay>>> = {
  fanfare: openBroker,
  ioredis: openIoredis,
}

async function openBroker({ redisUrl, channels }: OpenRequest, receive: Receive): Promise<Relay> {
  const metrics = new Metrics('load')
  const { broker } = composeRelay({
    id: randomUUID(),
    redis: {
      addresses: parseRedisAddresses(redisUrl),
      certificates: {},
      prefix: 'load',
      queueBytes: QUEUE_BYTES,
    },
    log: createLogger({ level: 'silent', format: 'json' }),
    metrics,
  })
  broker.start({
    resumed: () => undefined,
    hasPresenceWatchers: () => false,
    receive: (channel, events) => {
      for (const event of events) if (event.type === 'publication') receive(channel, event.data)
    },
  })
  await Promise.all(channels.map((channel) => retryWhileRefused(async () => broker.subscribe(channel))))
  const publication = {
    type: 'publication',
    isBinary: false,
    isJson: false,
    info: undefined,
    tags: undefined,
    position: undefined,
    excludedClient: undefined,
    isUnknown: false,
  } as const
  return {
    publish: (channel, data) => broker.publish(channel, { ...publication, data, publishedAtMs: Date.now() }),
    messages: () => metrics.relayBatchSize.count,
  }
}

async function openIoredis({ redisUrl, channels }: OpenRequest, receive: Receive): Promise<Relay> {
  const [publisher, subscriber] = [new Redis(redisUrl), new Redis(redisUrl)]
  subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) =>
    receive(channel.toString('latin1'), message),
  )
  await subscriber.subscribe(...channels)
  let messages = 0
  return {
    publish: (channel, payload) => {
      messages++
      return publisher.publish(channel, payload)
    },
    messages: () => messages,
  }
}

async function retryWhileRefused(attempt: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      await new Promise((resolve) => setTimeout(resolve, SUBSCRIBE_RETRY_MS))
    }
  }
}

let opened: { request: OpenRequest; relay: Relay; arrivals: Arrivals } | undefined

async function open(request: OpenRequest): Promise<RelayReply> {
  const arrivals = new Arrivals(request.channels)
  opened = { request, arrivals, relay: await OPEN[request.transport](request, arrivals.add) }
  return {}
}

/** Publishes everything that is due, and then waits for the next. */
async function publish(
  { request: { node, channels }, relay }: NonNullable<typeof opened>,
  { first, count, ratePerSecond, startMs }: PublishRequest,
): Promise<PublishedReport> {
  const intervalMs = 1000 / ratePerSecond
  const messagesBefore = relay.messages()
  const cpuBefore = process.cpuUsage()
  let failures = 0
  let unanswered = 0
  let sent = 0
  while (sent < count) {
    const waitMs = startMs + sent * intervalMs - monotonicMs()
    if (waitMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      continue
    }
    const due = Math.min(Math.floor(-waitMs / intervalMs) + 1, count - sent)
    for (const end = sent + due; sent < end; sent++) {
      const sequence = first + sent
      unanswered++
      relay
        .publish(channels[sequence % channels.length] ?? '', payloadOf(node, sequence))
        .catch(() => failures++)
        .finally(() => unanswered--)
    }
    await nextIteration()
  }
  const lastMs = monotonicMs()
  while (unanswered > 0) await nextIteration()
  const { user, system } = process.cpuUsage(cpuBefore)
  return { lastMs, failures, messages: relay.messages() - messagesBefore, cpuUs: user + system }
}

async function handle(request: RelayRequest): Promise<RelayReply> {
  if (request.kind === 'open') return open(request)
  if (opened === undefined) throw new Error('open first')
  if (request.kind === 'publish') return { published: await publish(opened, request) }
  return { received: await report(opened.arrivals, request) }
}

function report(arrivals: Arrivals, { count, deadlineMs }: ReportRequest): Promise<ReceivedReport> {
  return arrivals.report(count, deadlineMs)
}

serveRequests(handle)
