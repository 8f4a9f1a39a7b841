import type { Authenticator } from '../auth/authenticator.js'
import { type Broker, BrokerError } from '../broker/broker.js'
import type { ServerSubscription } from '../hub/hub.js'
import {
  type ClientLine,
  encodeErrorReply,
  encodePush,
  encodeReply,
  PING_FRAME,
  readClientFrame,
} from '../protocol/client-frames.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { ClientCommand, CommandName } from '../protocol/client-requests.js'
import { type Close, Closing, DISCONNECTS, UNSUBSCRIBES } from '../protocol/closes.js'
import { ERRORS, errors, ProtocolError } from '../protocol/errors.js'
import type { JsonValue } from '../protocol/json-writer.js'
import { CommandQueue, MAX_QUEUED_COMMANDS } from './command-queue.js'
import { runCommand } from './commands/run-command.js'
import type { Hooks } from './hooks.js'
import { subscribe } from './pending-subscription.js'
import { Session, type SessionContext } from './session.js'
import type { Subscription } from './subscription.js'

/** Time after its expiry in which a connection or subscription may still be refreshed. */
const EXPIRY_GRACE_MS = 25_000
/** Commands of one client that may be at work at once, where they overlap at all. */
const MAX_RUNNING_COMMANDS = 1_024
/** Commands of one frame: what may be at work and wait. Also of those that are done or refused at once, which block others. */
const MAX_FRAME_COMMANDS = MAX_RUNNING_COMMANDS + MAX_QUEUED_COMMANDS
/** Refused `connect` commands of one connection: SDKs come back on a new one with a new token. */
const MAX_REFUSED_CONNECTS = 3
/** Errors in a row that are the client's fault, beside one for each channel that it may be in: tokens of all may expire. */
const MAX_SPARE_ERRORS = 100
/** Commands of one kind that may overlap: their effects keep their order, and waiting for each answer would add up. */
const OVERLAPPING: ReadonlySet<CommandName> = new Set(['subscribe', 'publish', 'rpc'])
const NO_SUBSCRIPTIONS: readonly Subscription[] = []
const NO_DECISIONS: readonly Deciding[] = []

/** A channel about which the application is asked. */
interface Deciding {
  readonly channel: string
  isRevoked: boolean
}

/** What all sessions of the Centrifuge protocol share. */
export interface ClientSessionContext extends SessionContext {
  readonly broker: Broker
  readonly authenticator: Authenticator
  readonly hooks: Hooks
  readonly node: { readonly id: string; readonly version: string }
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
  /** Time in which a connection has to say `connect`. */
  readonly staleTimeoutMs: number
  readonly maxChannels: number
  readonly maxCommandBytes: number
  /** What the commands that wait may have taken in frames: one frame's worth. */
  readonly maxQueuedBytes: number
  /** Publications that a client may read or recover at once. */
  readonly maxHistoryPublications: number
  /** About what may be in one answer: less than a client may leave unread, so that it is not closed for having asked. */
  readonly maxAnswerBytes: number
}

/** A connection that speaks the Centrifuge client protocol over JSON. */
export class ClientSession extends Session<ClientSessionContext> {
  /** After a refused `connect` the client may try again; whatever else it sent with it is not looked at. */
  state: 'new' | 'connecting' | 'refused' | 'connected' = 'new'
  /** One line of JSON, as the token gave it. */
  connInfo: string | undefined
  /** Unix time in milliseconds. */
  expiresAtMs: number | undefined
  subscriptions = NO_SUBSCRIPTIONS
  private deciding = NO_DECISIONS
  private queue: CommandQueue | undefined
  private running = 0
  private runningName: CommandName | undefined
  private refusedConnects = 0
  /** Since the last command that succeeded. */
  private errorsInARow = 0
  /** Times of the wheel. Before it is connected, the next ping is when it is stale. */
  private nextPingMs = 0
  private pongDueMs = 0

  // What is the same for all is no field of each.
  get protocol() {
    return 'centrifuge' as const
  }

  get codec() {
    return 'json' as const
  }

  get channel(): undefined {
    return undefined
  }

  get session(): string {
    return this.client
  }

  /** For commands, which are part of the session. */
  get shared(): ClientSessionContext {
    return this.context
  }

  find(channel: string): Subscription | undefined {
    return this.subscriptions.find((subscription) => subscription.channel === channel)
  }

  isIn(channel: string): boolean {
    return this.find(channel)?.state === 'subscribed'
  }

  infoIn(subscription: Subscription | undefined): ClientInfo {
    const { client, user, connInfo } = this
    return { client, user, connInfo, chanInfo: subscription?.chanInfo }
  }

  /** Bytes that the next answer may have; below 0 where the client has more than that still to read. */
  get roomBytes(): number {
    return this.context.maxAnswerBytes - (this.socket?.bufferedBytes() ?? 0)
  }

  message(frame: Buffer, isBinary: boolean): void {
    const { metrics, maxCommandBytes } = this.context
    metrics.messagesReceived.centrifuge.value++
    if (isBinary) {
      this.close(DISCONNECTS.inappropriateProtocol)
      return
    }
    let count = 0
    for (const line of readClientFrame(frame, maxCommandBytes)) {
      if (this.socket === undefined) return
      if (++count <= MAX_FRAME_COMMANDS) this.receive(line)
      else this.close(DISCONNECTS.tooManyRequests)
    }
  }

  protected get slowClose() {
    return DISCONNECTS.slow
  }

  /** Pings of the WebSocket protocol are answered by the transport; a pong of this protocol is a message. */
  alive(): void {}

  onTimer(nowMs: number): number | undefined {
    if (this.state !== 'connected') {
      if (nowMs < this.nextPingMs) return this.nextPingMs - nowMs
      // Stale is final; an application or a stream that takes long is not the client's fault.
      this.close(this.state === 'connecting' ? DISCONNECTS.internalServerError : DISCONNECTS.stale)
      return undefined
    }
    if (this.pongDueMs > 0 && nowMs >= this.pongDueMs) {
      this.context.metrics.heartbeatTimeouts.inc({ protocol: this.protocol })
      this.close(DISCONNECTS.noPong)
      return undefined
    }
    const untilExpiryMs = this.expire()
    if (this.socket === undefined) return undefined
    if (nowMs >= this.nextPingMs) {
      this.socket.send(PING_FRAME, false)
      this.pongDueMs = Math.ceil(nowMs + this.context.pongTimeoutMs)
      this.nextPingMs = Math.ceil(nowMs + this.context.pingIntervalMs)
    }
    return this.untilNextLookMs(nowMs, untilExpiryMs)
  }

  private untilNextLookMs(nowMs: number, untilExpiryMs: number): number {
    const nextMs = this.pongDueMs > 0 ? Math.min(this.pongDueMs, this.nextPingMs) : this.nextPingMs
    return Math.max(1, Math.min(nextMs - nowMs, untilExpiryMs))
  }

  /** The connection is known: from now on it is pinged, the first time at a random point of the second half of the interval. */
  connected(user: string, connInfo: string | undefined, expiresAtMs: number | undefined): void {
    const { wheel, pingIntervalMs } = this.context
    this.state = 'connected'
    this.user = user
    this.connInfo = connInfo
    this.expiresAtMs = expiresAtMs
    this.nextPingMs = Math.ceil(wheel.nowMs + pingIntervalMs * (0.5 + Math.random() / 2))
    this.lookAgain()
  }

  /** To be called when something may expire earlier than before. */
  lookAgain(): void {
    const { wheel } = this.context
    if (this.socket === undefined || this.state !== 'connected') return
    const untilExpiryMs = this.expire()
    if (this.socket !== undefined) {
      wheel.schedule(this, this.untilNextLookMs(wheel.nowMs, untilExpiryMs))
    }
  }

  push(channel: string | undefined, kind: string, body: JsonValue): void {
    this.socket?.send(encodePush(channel, kind, body), false)
  }

  addSubscription(subscription: Subscription): void {
    // As long as needed: `push` and a spread leave room for 17, and most clients are in a few channels.
    this.subscriptions = this.subscriptions.concat(subscription)
  }

  removeSubscription(subscription: Subscription): void {
    if (!this.subscriptions.includes(subscription)) return
    this.subscriptions = this.subscriptions.filter((one) => one !== subscription)
    this.release(subscription)
  }

  /** Subscribes it from this side, and says so. */
  async subscribe(channel: string, options: ServerSubscription): Promise<void> {
    if (this.state !== 'connected') throw errors.notAvailable('the connection is not ready')
    const subscribing = subscribe(
      this,
      {
        channel,
        namespace: this.context.channels.namespaceOf(channel),
        isServerSide: true,
        wantsJoinLeave: true,
        wantsPosition: true,
        wantsRecovery: true,
        since: options.recoverSince,
        chanInfo: options.info,
        data: options.data,
        expiresAtMs: options.expiresAtMs,
      },
      ({ result, publications }) => {
        this.push(channel, 'subscribe', result)
        // SDKs look for none in the push.
        for (const publication of publications) this.push(channel, 'pub', publication)
      },
    )
    await subscribing
  }

  /** Ends a subscription from this side, and says so; one that is on its way is refused. */
  unsubscribe(channel: string, why: Close): boolean {
    const deciding = this.deciding.filter((one) => one.channel === channel)
    for (const one of deciding) one.isRevoked = true
    const subscription = this.find(channel)
    if (subscription === undefined) return deciding.length > 0
    const { state } = subscription
    this.removeSubscription(subscription)
    if (state === 'subscribed') this.push(channel, 'unsubscribe', { code: why.code, reason: why.reason })
    return true
  }

  /** Subscribes when the application has decided, unless the server has ended the subscription by then. */
  async whileDeciding<T>(
    channel: string,
    decided: PromiseLike<T>,
    subscribeBy: (decision: T) => Promise<void> | undefined,
  ): Promise<void> {
    const deciding = { channel, isRevoked: false }
    this.deciding = [...this.deciding, deciding]
    try {
      const decision = await decided
      if (deciding.isRevoked) throw errors.permissionDenied('the server has ended the subscription')
      await subscribeBy(decision)
    } finally {
      this.deciding = this.deciding.filter((one) => one !== deciding)
    }
  }

  /** Sets when the connection expires. */
  refresh(expiresAtMs: number | undefined): void {
    if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) {
      this.close(DISCONNECTS.connectionExpired)
      return
    }
    this.expiresAtMs = expiresAtMs
    this.lookAgain()
  }

  shutDown(): void {
    this.close(DISCONNECTS.shutdown)
  }

  /** Whoever follows a stream has to begin anew. SDKs subscribe again by themselves only to what they asked for. */
  missed(channel: string): void {
    const subscription = this.find(channel)
    if (subscription?.isPositioned !== true) return
    if (subscription.isServerSide) this.close(DISCONNECTS.insufficientState)
    else this.unsubscribe(channel, UNSUBSCRIBES.insufficientState)
  }

  protected begin(): number {
    const { wheel, staleTimeoutMs } = this.context
    this.nextPingMs = Math.ceil(wheel.nowMs + staleTimeoutMs)
    return staleTimeoutMs
  }

  protected end(code: number, reason: string): void {
    this.queue = undefined
    const { subscriptions } = this
    this.subscriptions = NO_SUBSCRIPTIONS
    for (const subscription of subscriptions) this.release(subscription)
    if (this.state === 'connected') void this.tellApplication(code, reason)
  }

  /** Never rejects: the connection is gone, whatever the application makes of it. */
  private async tellApplication(code: number, reason: string): Promise<void> {
    const { client, user } = this
    try {
      await this.context.hooks.disconnect?.({ client, user, code, reason })
    } catch (error) {
      this.context.log.error({ ...this.facts(), err: error }, 'the disconnect hook failed')
    }
  }

  private release(subscription: Subscription): void {
    const { hub, presence } = this.context
    const { channel, namespace, state, wishes } = subscription
    subscription.state = 'gone'
    // Otherwise whoever is subscribing gives back what was taken until then.
    if (state !== 'subscribed') return
    hub.leave(channel, this, wishes)
    presence.left(channel, this.infoIn(subscription), namespace)
  }

  private receive(line: ClientLine): void {
    if (line.type === 'pong') {
      // One that nobody asked for is an error of the protocol.
      if (this.pongDueMs === 0) this.close(DISCONNECTS.badRequest)
      this.pongDueMs = 0
      return
    }
    if (line.type === 'malformed') {
      this.context.log.debug({ ...this.facts(), why: line.why }, 'malformed frame')
      this.close(DISCONNECTS.badRequest)
      return
    }
    const isConnect = (line.type === 'command' ? line.command.name : line.name) === 'connect'
    if (this.state === 'new' && !isConnect) this.close(DISCONNECTS.badRequest)
    else if (this.state === 'refused' && !isConnect) return
    else if (line.type === 'command') this.enqueue(line.command, line.bytes)
    else {
      if (this.state === 'new') this.state = 'refused'
      this.refuse(line.id, line.name, line.error)
      this.blame()
    }
  }

  private enqueue(command: ClientCommand, bytes: number): void {
    if (this.queue === undefined && this.mayStart(command)) {
      this.start(command)
      return
    }
    this.queue ??= new CommandQueue(this.context.maxQueuedBytes)
    if (!this.queue.add(command, bytes)) this.close(DISCONNECTS.tooManyRequests)
  }

  private mayStart({ name }: ClientCommand): boolean {
    if (this.running === 0) return true
    // An application that is asked may answer in another order.
    const mayOverlap =
      OVERLAPPING.has(name) && (name !== 'publish' || this.context.hooks.publish === undefined)
    return mayOverlap && this.running < MAX_RUNNING_COMMANDS && this.runningName === name
  }

  private start(command: ClientCommand): void {
    const { id, name } = command
    const startMs = performance.now()
    const reply = (result: JsonValue) => {
      this.errorsInARow = 0
      if (id > 0) this.socket?.send(encodeReply(id, name, result), false)
    }
    let done: Promise<void> | undefined
    try {
      done = runCommand(this, command, reply)
    } catch (error) {
      this.failed(id, name, error)
    }
    if (done === undefined) {
      this.finished(name, startMs)
      return
    }
    this.running++
    this.runningName = name
    void done
      .catch((error: unknown) => this.failed(id, name, error))
      .then(() => {
        this.finished(name, startMs)
        this.running--
        this.startQueued()
      })
  }

  private finished(command: CommandName, startMs: number): void {
    this.context.metrics.commandDuration.observe({ command }, (performance.now() - startMs) / 1_000)
  }

  private startQueued(): void {
    while (this.queue !== undefined && this.socket !== undefined) {
      const next = this.queue.first
      if (next === undefined) this.queue = undefined
      else if (!this.mayStart(next)) return
      else {
        this.queue.removeFirst()
        this.start(next)
      }
    }
  }

  private failed(id: number, name: string, error: unknown): void {
    if (this.state === 'connecting') {
      this.state = 'refused'
      this.queue = undefined
    }
    if (error instanceof Closing) {
      this.close(error.close)
      return
    }
    const refusal = this.toProtocolError(error)
    this.refuse(id, name, refusal)
    // What the relay or the application make of a command is not the client's fault, while it has to be known who it is.
    const isOurs = refusal.temporary || refusal.code === ERRORS.internal.code || name === 'rpc'
    if (!isOurs || this.state === 'refused') this.blame()
  }

  /** Counts an error of the client, which has just been told. */
  private blame(): void {
    const isTooMuch =
      this.state === 'refused'
        ? ++this.refusedConnects >= MAX_REFUSED_CONNECTS
        : ++this.errorsInARow > MAX_SPARE_ERRORS + this.context.maxChannels
    if (isTooMuch) this.close(DISCONNECTS.tooManyErrors)
  }

  private toProtocolError(error: unknown): ProtocolError {
    if (error instanceof ProtocolError) return error
    if (error instanceof BrokerError) return errors.internal(error.message, error.reason !== 'timeout')
    this.context.log.error({ ...this.facts(), err: error }, 'a command failed')
    return errors.internal('see the log of the node')
  }

  private refuse(id: number, name: string, error: ProtocolError): void {
    this.context.metrics.commandErrors.inc({ command: name, code: error.code })
    if (id > 0) this.socket?.send(encodeErrorReply(id, error), false)
  }

  /** Ends what has expired beyond its grace. Returns the time until something will. */
  private expire(): number {
    const nowMs = Date.now()
    let untilMs = Number.POSITIVE_INFINITY
    const isOver = (expiresAtMs: number | undefined) => {
      if (expiresAtMs === undefined) return false
      const leftMs = expiresAtMs + EXPIRY_GRACE_MS - nowMs
      if (leftMs > 0) untilMs = Math.min(untilMs, leftMs)
      return leftMs <= 0
    }
    if (isOver(this.expiresAtMs)) {
      this.close(DISCONNECTS.connectionExpired)
      return untilMs
    }
    for (const { channel, isServerSide } of this.subscriptions.filter((one) => isOver(one.expiresAtMs))) {
      // To SDKs the end of one of the server's subscriptions is final, that of the connection is not.
      if (isServerSide) this.close(DISCONNECTS.subscriptionExpired)
      else this.unsubscribe(channel, UNSUBSCRIBES.subscriptionExpired)
    }
    return untilMs
  }
}
