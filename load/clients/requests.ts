import type { TallyReport } from './tally.js'

/** What connections speak: raw frames at `/ws/<room>`, or the Centrifuge protocol with rooms as channels. */
export type Protocol = 'raw' | 'centrifuge'

/** What lets clients in. */
export interface Access {
  /** Of a raw client's handshake. */
  headers: Record<string, string>
  /** Signs the tokens of clients of the Centrifuge protocol, each of which is a user of its own. */
  hmacSecret: string
}

/** What a benchmark asks of the processes that hold its connections. Each request gets one reply, in order. */
export interface ConnectRequest {
  kind: 'connect'
  /** The server, for example `ws://127.0.0.1:8000`. */
  url: string
  access: Access
  protocol: Protocol
  connections: number
  /** Rooms that the connections are dealt out to, one after the other. */
  rooms: string[]
  /** How many rooms a client of the Centrifuge protocol is in; a raw one is in one. */
  roomsEach: number
}

/** To a process of subscribers: end all connections. */
export interface DisconnectRequest {
  kind: 'disconnect'
}

/** To a process of subscribers: check what comes from now on against this run of messages. */
export interface ExpectRequest {
  kind: 'expect'
  first: number
  messages: number
}

/** To a process of subscribers: report once all has arrived, or at the deadline (monotonic ms) what has by then. */
export interface TallyRequest {
  kind: 'tally'
  deadlineMs: number
}

/** To the publisher: send a run of messages on a schedule. */
export interface PublishRequest {
  kind: 'publish'
  first: number
  messages: number
  ratePerSecond: number
  /** When the first is due (monotonic ms). */
  startMs: number
}

export type Request = ConnectRequest | DisconnectRequest | ExpectRequest | TallyRequest | PublishRequest

/** How well the publisher kept its schedule. */
export interface PublishReport {
  /** The most that a message left after it was due, in ms. */
  maxLateMs: number
}

export interface Reply {
  error?: string
  /** From the first handshake to the last answer. */
  connectedInMs?: number
  tally?: TallyReport
  published?: PublishReport
}

/** Answers each request of the parent process with what the handler returns or throws; ends with the parent. */
export function serveRequests(handle: (request: Request) => Promise<Reply>): void {
  process.on('message', (request: Request) => {
    handle(request).then(
      (reply) => process.send?.(reply),
      (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
    )
  })
  process.once('disconnect', () => process.exit())
  // Ctrl-C reaches the whole process group; the parent decides when its helpers end.
  process.on('SIGINT', () => undefined)
}
