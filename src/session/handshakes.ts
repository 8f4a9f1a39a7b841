import type { Authenticator, Identity } from '../auth/authenticator.js'
import type { OriginPolicy } from '../auth/origins.js'
import { chooseSubprotocol, findToken, offeredSubprotocols } from '../auth/token-source.js'
import { channelNameProblem } from '../channel/channel-name.js'
import type { NamespaceOptions } from '../channel/namespaces.js'
import { subscribeRule } from '../channel/permissions.js'
import type { WatchedEvents } from '../connection/connection.js'
import { BrokerError } from '../protocol/broker-error.js'
import type {
  Acceptance,
  HandshakeDecision,
  HttpRequest,
  HttpResponse,
  SocketHandler,
  WebSocketRoute,
} from '../transport/transport.js'
import type { ClientSessionContext } from './client-connection.js'
import { ClientSession } from './client-session.js'
import { RawSession, type RawSessionContext, type RawSubscription } from './raw-session.js'

const JSON_SUBPROTOCOL = 'centrifuge-json'
/** Range of `Retry-After` in seconds, so that clients refused together do not come back together. */
const RETRY_AFTER_SECONDS = { least: 1, most: 5 } as const

export interface HandshakesOptions {
  /** For raw and echo connections. */
  readonly raw: RawSessionContext
  readonly centrifuge: ClientSessionContext
  readonly authenticator: Authenticator
  readonly origins: OriginPolicy
  /** Header that is searched first for a token. */
  readonly authHeader: string
  /** The largest frame of a raw or echo client, and of a client of the Centrifuge protocol; larger ones are cut. */
  readonly maxRawFrameBytes: number
  readonly maxClientFrameBytes: number
  /** Unread bytes that a raw or echo client may have, and a client of the Centrifuge protocol. */
  readonly maxRawQueueBytes: number
  readonly maxClientQueueBytes: number
}

/** A handshake that ends without a connection. The reason is a metric's label. */
class Refusal {
  constructor(
    readonly reason: string,
    readonly status: number,
    readonly message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  response(): HttpResponse {
    const headers = { 'Content-Type': 'text/plain; charset=utf-8', ...this.headers }
    return { status: this.status, headers, body: `${this.message}\n` }
  }
}

function unavailable(reason: string, message: string): Refusal {
  const { least, most } = RETRY_AFTER_SECONDS
  const seconds = least + Math.floor(Math.random() * (most - least + 1))
  return new Refusal(reason, 503, message, { 'Retry-After': String(seconds) })
}

/** Decides which handshakes become connections. All is decided before the upgrade: a refused client never has a socket. */
export class Handshakes {
  readonly routes: readonly WebSocketRoute[]

  constructor(private readonly options: HandshakesOptions) {
    const raw = { maxFrameBytes: options.maxRawFrameBytes, maxQueueBytes: options.maxRawQueueBytes }
    const client = { maxFrameBytes: options.maxClientFrameBytes, maxQueueBytes: options.maxClientQueueBytes }
    this.routes = [
      { path: '/ws/*', ...raw, handshake: (request) => this.raw(request) },
      { path: '/echo', ...raw, handshake: (request) => this.echo(request) },
      { path: '/connection/websocket', ...client, handshake: (request) => this.client(request) },
    ]
  }

  private echo(request: HttpRequest): HandshakeDecision {
    const identity = this.checkUpgrade(request) ?? this.authenticate(request)
    if (identity instanceof Refusal) return this.refuse(identity)
    return this.reserveSlot() ?? this.accept(request, new RawSession(this.options.raw, identity, undefined))
  }

  /** The client authenticates after the upgrade, by the `connect` command. */
  private client(request: HttpRequest): HandshakeDecision {
    const refusal = this.checkUpgrade(request) ?? checkSubprotocol(request)
    if (refusal !== undefined) return this.refuse(refusal)
    const handler = new ClientSession(this.options.centrifuge, '')
    return this.reserveSlot() ?? { ...this.accept(request, handler), subprotocol: clientSubprotocol(request) }
  }

  private raw(request: HttpRequest): HandshakeDecision | Promise<HandshakeDecision> {
    const upgrade = this.checkUpgrade(request)
    if (upgrade !== undefined) return this.refuse(upgrade)
    const channel = readChannel(request.path)
    if (channel instanceof Refusal) return this.refuse(channel)
    const watched = readWatchedEvents(request.queryParameter('events'))
    if (watched instanceof Refusal) return this.refuse(watched)
    const identity = this.authenticate(request)
    if (identity instanceof Refusal) return this.refuse(identity)
    const namespace = this.authorize(channel, identity)
    if (namespace instanceof Refusal) return this.refuse(namespace)
    return this.reserveSlot() ?? this.acceptRaw(request, identity, { channel, namespace, watched })
  }

  /** Accepts once this node is subscribed to the channel: while the relay is up, a connected client misses nothing. */
  private acceptRaw(
    request: HttpRequest,
    identity: Identity,
    subscription: RawSubscription,
  ): HandshakeDecision | Promise<HandshakeDecision> {
    const { raw: context } = this.options
    const { channel } = subscription
    const acquired = context.hub.acquire(channel)
    const release = () => context.hub.release(channel)
    const accept = () => this.accept(request, new RawSession(context, identity, subscription), release)
    const giveUp = () => {
      release()
      context.slots.release()
    }
    if (acquired === undefined) return accept()
    const acceptUnlessDraining = () => {
      if (!context.slots.isClosed) return accept()
      giveUp()
      return this.refuse(unavailable('draining', 'this node is stopping'))
    }
    return acquired.then(acceptUnlessDraining, (error: unknown) => {
      giveUp()
      if (!(error instanceof BrokerError)) throw error
      return this.refuse(unavailable('relay_unavailable', `the channel cannot be joined: ${error.message}`))
    })
  }

  /** Returns the channel's namespace, if the token or the namespace's options let the client in. */
  private authorize(channel: string, { user, channels }: Identity): NamespaceOptions | Refusal {
    const namespace = this.options.raw.channels.findNamespace(channel)
    const refuse = (message: string) => new Refusal('channel_not_allowed', 403, message)
    if (namespace === undefined) return refuse('there is no such namespace')
    const rule = subscribeRule(namespace, channel, user)
    if (rule === 'denied') return refuse('this user may not join this channel')
    if (channels?.includes(channel) === true) return namespace
    if (channels !== undefined) return refuse('the token does not allow this channel')
    return rule === 'allowed' ? namespace : refuse('the token must name this channel')
  }

  private accept(request: HttpRequest, handler: SocketHandler, release?: () => void): Acceptance {
    const abandoned = () => {
      release?.()
      this.options.raw.slots.release()
    }
    return { handler, subprotocol: chooseSubprotocol(request), abandoned }
  }

  private refuse(refusal: Refusal): HandshakeDecision {
    this.options.raw.metrics.connectionRejections.inc({ reason: refusal.reason })
    return { refusal: refusal.response() }
  }

  /** Returns undefined where a slot was reserved. */
  private reserveSlot(): HandshakeDecision | undefined {
    const reason = this.options.raw.slots.reserve()
    if (reason === undefined) return undefined
    const message =
      reason === 'draining' ? 'this node is stopping' : 'this node has as many connections as it may'
    return this.refuse(unavailable(reason, message))
  }

  private checkUpgrade(request: HttpRequest): Refusal | undefined {
    if (request.header('sec-websocket-version') !== '13') {
      return new Refusal('version', 426, 'Sec-WebSocket-Version must be 13', {
        'Sec-WebSocket-Version': '13',
      })
    }
    if (!this.options.origins.allows(request.header('origin'), request.header('host'))) {
      return new Refusal('origin', 403, 'pages of this origin may not connect')
    }
    return undefined
  }

  private authenticate(request: HttpRequest): Identity | Refusal {
    const token = findToken(request, this.options.authHeader)
    const { identity, failure } = this.options.authenticator.authenticate(token)
    if (identity !== undefined) return identity
    this.options.raw.metrics.authFailures.inc({ reason: failure })
    if (failure === 'key_unknown') return unavailable(failure, 'the key of the token is not known yet')
    const message = {
      missing: 'a token is required',
      invalid: 'the token is not valid',
      expired: 'the token has expired',
      not_yet_valid: 'the token is not valid yet',
    }[failure]
    return new Refusal('unauthorized', 401, message, { 'WWW-Authenticate': 'Bearer' })
  }
}

/** Only the JSON form of the Centrifuge protocol is available; a client that offers no subprotocol means that one. */
function checkSubprotocol(request: HttpRequest): Refusal | undefined {
  const offered = offeredSubprotocols(request)
  if (offered.length === 0 || offered.includes(JSON_SUBPROTOCOL)) return undefined
  return new Refusal('subprotocol', 400, `the only subprotocol spoken here is ${JSON_SUBPROTOCOL}`)
}

function clientSubprotocol(request: HttpRequest): string {
  return offeredSubprotocols(request).length === 0 ? '' : JSON_SUBPROTOCOL
}

/** Reads the channel from the path: what follows `/ws/`, percent-decoded. */
function readChannel(path: string): string | Refusal {
  let channel: string
  try {
    channel = decodeURIComponent(path.slice('/ws/'.length))
  } catch {
    return new Refusal('bad_channel', 400, 'the channel name is not percent-encoded properly')
  }
  const problem = channelNameProblem(channel)
  return problem === undefined ? channel : new Refusal('bad_channel', 400, problem)
}

/** Reads `?events=join,leave`. */
function readWatchedEvents(parameter: string | undefined): WatchedEvents | Refusal {
  const events = parameter === undefined || parameter === '' ? [] : parameter.split(',')
  if (events.some((event) => event !== 'join' && event !== 'leave')) {
    return new Refusal('bad_events', 400, 'events must be join, leave or both: ?events=join,leave')
  }
  return { join: events.includes('join'), leave: events.includes('leave') }
}
