import { errorMessage } from '../../src/error-message.js'
import type { DeliveryReport } from './delivery-ledger.js'
import type { HelperReply } from './helper-process.js'

/** What connections speak: raw frames at `/ws/<channel>`, or the Centrifuge protocol (JSON). */
export type Protocol = 'raw' | 'centrifuge'

/** How clients authenticate at a server. */
export interface Credentials {
  /** Of a raw client's handshake. */
  headers: Record<string, string>
  /** Signs the tokens of clients of the Centrifuge protocol, each of which is a user of its own. */
  hmacSecret: string
}

/**
 * What a benchmark requests of the processes in which its clients run. A process replies to each request once, in
 * order.
 */
export interface ConnectRequest {
  kind: 'connect'
  /** The server, for example `ws://127.0.0.1:8000`. */
  url: string
  credentials: Credentials
  protocol: Protocol
  connections: number
  /** Channels that the connections are distributed over in turn. */
  channels: string[]
  /** How many channels a client of the Centrifuge protocol subscribes to; a raw one is in one. */
  channelsPerClient: number
}

/** To a process of subscribers: end all connections. */
export interface DisconnectRequest {
  kind: 'disconnect'
}

/** To a process of subscribers: check deliveries from now on against this run of messages. */
export interface ExpectRequest {
  kind: 'expect'
  first: number
  messages: number
}

/** To a process of subscribers: report as soon as every delivery has arrived, at the latest at the deadline. */
export interface ReportRequest {
  kind: 'report'
  /** Monotonic ms, as `monotonicMs` returns. */
  deadlineMs: number
}

/** To the publisher: send a run of messages on a schedule. */
export interface PublishRequest {
  kind: 'publish'
  first: number
  messages: number
  ratePerSecond: number
  /** When the first is due, in monotonic ms. */
  startMs: number
}

/** To the process of a client that measures how long the server takes to answer: begin. */
export interface EchoRequest {
  kind: 'echo'
  url: string
  headers: Record<string, string>
}

/** To the same: what was measured since the last request of this kind. */
export interface LatenciesRequest {
  kind: 'latencies'
}

export type Request =
  | ConnectRequest
  | DisconnectRequest
  | ExpectRequest
  | ReportRequest
  | PublishRequest
  | EchoRequest
  | LatenciesRequest

export interface Latencies {
  p50Ms: number
  p99Ms: number
  longestMs: number
}

/** How well the publisher kept its schedule. */
export interface PublishReport {
  /** The longest time from when a message was due to when it was sent, in ms. */
  maxLateMs: number
}

export interface Reply extends HelperReply {
  /** From the first handshake to the last answer. */
  connectedInMs?: number
  deliveries?: DeliveryReport
  published?: PublishReport
  latencies?: Latencies
}

/**
 * Replies to each request of the parent process with what the handler returns, or with the message of what it throws;
 * ends this process when the parent has ended.
 */
export function serveRequests<Q = Request, R extends HelperReply = Reply>(
  handle: (request: Q) => Promise<R>,
): void {
  process.on('message', (request: Q) => {
    handle(request).then(
      (reply) => process.send?.(reply),
      (error: unknown) => process.send?.({ error: errorMessage(error) }),
    )
  })
  process.once('disconnect', () => process.exit())
  // Ctrl-C signals the whole process group; the parent decides when its helper processes end.
  process.on('SIGINT', () => undefined)
}
