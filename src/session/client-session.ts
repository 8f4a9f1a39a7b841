import type { ServerSubscription } from '../connection/connection.js'
import { encodePush, PING_FRAME } from '../protocol/client-frames.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { ClientCommand } from '../protocol/client-requests.js'
import { type Close, DISCONNECTS, UNSUBSCRIBES } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import { jsonText } from '../protocol/json-text.js'
import type { JsonValue } from '../protocol/json-writer.js'
import type { ClientConnection, ClientSessionContext, ConnectState } from './client-connection.js'
import { type CommandHost, CommandRunner } from './command-runner.js'
import type { Reply } from './commands/command-handler.js'
import { runCommand } from './commands/command-handlers.js'
import { expiryFields } from './expiry.js'
import { subscribe } from './pending-subscription.js'
import { Session } from './session.js'
import type { Subscription } from './subscription.js'

/** Time after its expiry in which a connection or subscription may still be refreshed. */
const EXPIRY_GRACE_MS = 25_000
const NO_SUBSCRIPTIONS: readonly Subscription[] = []
const NO_DECISIONS: readonly PendingDecision[] = []

/** A subscription that an application's hook is deciding about. */
interface PendingDecision {
  readonly channel: string
  isRevoked: boolean
}

/** A connection that speaks the Centrifuge client protocol over JSON. */
export class ClientSession extends Session<ClientSessionContext> implements ClientConnection, CommandHost {
  state: ConnectState = 'new'
  subscriptions = NO_SUBSCRIPTIONS
  private readonly commands = new CommandRunner(this)
  /** One line of JSON, from the token. */
  private connInfo: string | undefined
  /** Unix time in milliseconds. */
  private expiresAtMs: number | undefined
  private pendingDecisions = NO_DECISIONS
  /** In the wheel's time. Before the client is connected: when the connection is stale. */
  private nextPingMs = 0
  /** In the wheel's time; 0: no pong is awaited. */
  private pongDueMs = 0

  // Getters, since a field would take memory in every session.
  get protocol() {
    return 'centrifuge' as const
  }

  get codec() {
    return 'json' as const
  }

  get channel(): undefined {
    return undefined
  }

  get sessionId(): string {
    return this.client
  }

  get isOpen(): boolean {
    return this.socket !== undefined
  }

  get roomBytes(): number {
    return this.context.maxAnswerBytes - (this.socket?.bufferedBytes() ?? 0)
  }

  protected get slowConsumerClose() {
    return DISCONNECTS.slow
  }

  message(frame: Buffer, isBinary: boolean): void {
    this.context.metrics.messagesReceived.centrifuge.value++
    if (isBinary) this.close(DISCONNECTS.inappropriateProtocol)
    else this.commands.handleFrame(frame)
  }

  run(command: ClientCommand, reply: Reply): Promise<void> | undefined {
    return runCommand(this, command, reply)
  }

  pong(): void {
    // A pong without a ping is a violation of the protocol.
    if (this.pongDueMs === 0) this.close(DISCONNECTS.badRequest)
    this.pongDueMs = 0
  }

  sendText(text: string): void {
    this.socket?.send(Buffer.from(text), false)
  }

  /** The transport answers pings of the WebSocket protocol; a pong of this protocol is a message. */
  markAlive(): void {}

  beginConnect(): void {
    this.state = 'connecting'
  }

  identify(user: string, connInfo: string | undefined): void {
    this.user = user
    this.connInfo = connInfo
  }

  /** The first ping comes at a random point of the second half of the interval. */
  completeConnect(expiresAtMs: number | undefined): void {
    const { wheel, pingIntervalMs } = this.context
    this.state = 'connected'
    this.expiresAtMs = expiresAtMs
    this.nextPingMs = Math.ceil(wheel.nowMs + pingIntervalMs * (0.5 + Math.random() / 2))
    this.rescheduleTimer()
  }

  onTimer(nowMs: number): number | undefined {
    if (this.state !== 'connected') {
      if (nowMs < this.nextPingMs) return this.nextPingMs - nowMs
      // Stale is final, but a slow application or stream is not the client's fault.
      this.close(this.state === 'connecting' ? DISCONNECTS.internalServerError : DISCONNECTS.stale)
      return undefined
    }
    if (this.pongDueMs > 0 && nowMs >= this.pongDueMs) {
      this.context.metrics.heartbeatTimeouts.inc({ protocol: this.protocol })
      this.close(DISCONNECTS.noPong)
      return undefined
    }
    const untilExpiryMs = this.endExpired()
    if (this.socket === undefined) return undefined
    if (nowMs >= this.nextPingMs) {
      this.socket.send(PING_FRAME, false)
      this.pongDueMs = Math.ceil(nowMs + this.context.pongTimeoutMs)
      this.nextPingMs = Math.ceil(nowMs + this.context.pingIntervalMs)
    }
    return this.nextTimerMs(nowMs, untilExpiryMs)
  }

  private nextTimerMs(nowMs: number, untilExpiryMs: number): number {
    const nextMs = this.pongDueMs > 0 ? Math.min(this.pongDueMs, this.nextPingMs) : this.nextPingMs
    return Math.max(1, Math.min(nextMs - nowMs, untilExpiryMs))
  }

  rescheduleTimer(): void {
    const { wheel } = this.context
    if (this.socket === undefined || this.state !== 'connected') return
    const untilExpiryMs = this.endExpired()
    if (this.socket !== undefined) wheel.schedule(this, this.nextTimerMs(wheel.nowMs, untilExpiryMs))
  }

  /** Ends what has expired beyond its grace. Returns the milliseconds until something else will. */
  private endExpired(): number {
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
      // To SDKs the end of a server-side subscription is final, that of the connection is not.
      if (isServerSide) this.close(DISCONNECTS.subscriptionExpired)
      else this.unsubscribe(channel, UNSUBSCRIBES.subscriptionExpired)
    }
    return untilMs
  }

  findSubscription(channel: string): Subscription | undefined {
    return this.subscriptions.find((subscription) => subscription.channel === channel)
  }

  isSubscribed(channel: string): boolean {
    return this.findSubscription(channel)?.state === 'subscribed'
  }

  infoIn(subscription: Subscription | undefined): ClientInfo {
    const { client, user, connInfo } = this
    return { client, user, connInfo, chanInfo: subscription?.chanInfo }
  }

  addSubscription(subscription: Subscription): void {
    // An array of just the length: `push` and a spread leave room for 17, and most clients are in a few channels. A loop,
    // for `concat` takes ten times as long.
    const { length } = this.subscriptions
    const subscriptions = new Array<Subscription>(length + 1)
    for (let index = 0; index < length; index++)
      subscriptions[index] = this.subscriptions[index] as Subscription
    subscriptions[length] = subscription
    this.subscriptions = subscriptions
  }

  removeSubscription(subscription: Subscription): void {
    if (!this.subscriptions.includes(subscription)) return
    this.subscriptions = this.subscriptions.filter((one) => one !== subscription)
    this.endSubscription(subscription)
  }

  private endSubscription(subscription: Subscription): void {
    const { hub, presenceAnnouncer } = this.context
    const { channel, namespace, state, watched } = subscription
    subscription.state = 'ended'
    // A pending subscription releases what it has acquired itself.
    if (state !== 'subscribed') return
    hub.removeSubscriber(channel, this, watched)
    presenceAnnouncer.left(channel, this.infoIn(subscription), namespace)
  }

  async subscribe(channel: string, options: ServerSubscription): Promise<void> {
    if (this.state !== 'connected') throw errors.notAvailable('the connection is not ready')
    const subscribing = subscribe(
      this,
      {
        channel,
        namespace: this.context.channels.namespaceOf(channel),
        isServerSide: true,
        wantsJoinLeave: false,
        wantsPosition: true,
        wantsRecovery: true,
        since: options.recoverSince,
        chanInfo: options.info,
        data: options.data,
        expiresAtMs: options.expiresAtMs,
      },
      ({ result, publications }) => {
        this.push(channel, 'subscribe', result)
        // SDKs look for publications in pushes of their own, not in this one.
        for (const publication of publications) this.push(channel, 'pub', publication)
      },
    )
    await subscribing
  }

  /** Notifies the client, where it is subscribed; a pending subscription is refused. */
  unsubscribe(channel: string, why: Close): boolean {
    const decisions = this.pendingDecisions.filter((one) => one.channel === channel)
    for (const decision of decisions) decision.isRevoked = true
    const subscription = this.findSubscription(channel)
    if (subscription === undefined) return decisions.length > 0
    const { state } = subscription
    this.removeSubscription(subscription)
    if (state === 'subscribed') this.push(channel, 'unsubscribe', { code: why.code, reason: why.reason })
    return true
  }

  async awaitDecision<T>(
    channel: string,
    decided: PromiseLike<T>,
    subscribe: (decision: T) => Promise<void> | undefined,
  ): Promise<void> {
    const pending = { channel, isRevoked: false }
    this.pendingDecisions = [...this.pendingDecisions, pending]
    try {
      const decision = await decided
      if (pending.isRevoked) throw errors.permissionDenied('the server has ended the subscription')
      await subscribe(decision)
    } finally {
      this.pendingDecisions = this.pendingDecisions.filter((one) => one !== pending)
    }
  }

  /** SDKs resubscribe by themselves only to client-side subscriptions; for others the connection has to end. */
  notifyGap(channel: string): void {
    const subscription = this.findSubscription(channel)
    if (subscription === undefined) return
    if (subscription.isServerSide) this.close(DISCONNECTS.insufficientState)
    else this.unsubscribe(channel, UNSUBSCRIBES.insufficientState)
  }

  pushMessage(data: string): boolean {
    if (this.state !== 'connected') return false
    this.push(undefined, 'message', { data: jsonText(data) })
    return true
  }

  refresh(expiresAtMs: number | undefined): void {
    if (expiresAtMs === undefined || expiresAtMs > Date.now()) {
      this.push(undefined, 'refresh', expiryFields(expiresAtMs))
    }
    this.expireAt(expiresAtMs)
  }

  expireAt(expiresAtMs: number | undefined): void {
    if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) {
      this.close(DISCONNECTS.connectionExpired)
      return
    }
    this.expiresAtMs = expiresAtMs
    this.rescheduleTimer()
  }

  override close(close: Close): void {
    for (const { channel } of this.subscriptions) this.context.hub.flush(channel)
    super.close(close)
  }

  shutDown(): void {
    this.close(DISCONNECTS.shutdown)
  }

  protected onOpened(): number {
    const { wheel, staleTimeoutMs } = this.context
    this.nextPingMs = Math.ceil(wheel.nowMs + staleTimeoutMs)
    return staleTimeoutMs
  }

  protected onClosed(code: number, reason: string): void {
    this.commands.dropQueued()
    const { subscriptions } = this
    this.subscriptions = NO_SUBSCRIPTIONS
    for (const subscription of subscriptions) this.endSubscription(subscription)
    if (this.state === 'connected') void this.callDisconnectHook(code, reason)
  }

  /** Never rejects: the connection is closed, whatever the application does. */
  private async callDisconnectHook(code: number, reason: string): Promise<void> {
    const { client, user } = this
    try {
      await this.context.hooks.disconnect?.({ client, user, code, reason })
    } catch (error) {
      this.logHookError('disconnect', error)
    }
  }

  logHookError(hook: 'message' | 'disconnect', error: unknown): void {
    this.context.log.error({ ...this.logFields(), err: error }, `the ${hook} hook failed`)
  }

  private push(channel: string | undefined, kind: string, body: JsonValue): void {
    this.sendText(encodePush(channel, kind, body))
  }
}
