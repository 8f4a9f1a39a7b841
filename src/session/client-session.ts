import type { ServerSubscription } from '../hub/hub.js'
import { encodePush, PING_FRAME } from '../protocol/client-frames.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { ClientCommand } from '../protocol/client-requests.js'
import { type Close, DISCONNECTS, UNSUBSCRIBES } from '../protocol/closes.js'
import { errors } from '../protocol/errors.js'
import { type JsonValue, jsonText } from '../protocol/json-writer.js'
import { type ClientSessionContext, CommandSession, type Reply } from './command-session.js'
import { runCommand } from './commands/run-command.js'
import { secondsUntil, subscribe } from './pending-subscription.js'
import type { Subscription } from './subscription.js'

/** Time after its expiry in which a connection or subscription may still be refreshed. */
const EXPIRY_GRACE_MS = 25_000
const NO_SUBSCRIPTIONS: readonly Subscription[] = []
const NO_DECISIONS: readonly Deciding[] = []

/** A channel about which the application is asked. */
interface Deciding {
  readonly channel: string
  isRevoked: boolean
}

/** A connection that speaks the Centrifuge client protocol over JSON. */
export class ClientSession extends CommandSession {
  /** One line of JSON, as the token gave it. */
  connInfo: string | undefined
  /** Unix time in milliseconds. */
  expiresAtMs: number | undefined
  subscriptions = NO_SUBSCRIPTIONS
  private deciding = NO_DECISIONS
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

  protected run(command: ClientCommand, reply: Reply): Promise<void> | undefined {
    return runCommand(this, command, reply)
  }

  protected pong(): void {
    // One that nobody asked for is an error of the protocol.
    if (this.pongDueMs === 0) this.close(DISCONNECTS.badRequest)
    this.pongDueMs = 0
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
    this.sendText(encodePush(channel, kind, body))
  }

  pushMessage(data: string): boolean {
    if (this.state !== 'connected') return false
    this.push(undefined, 'message', { data: jsonText(data) })
    return true
  }

  /** An error of the application that no client is told. */
  hookFailed(hook: 'message' | 'disconnect', error: unknown): void {
    this.context.log.error({ ...this.facts(), err: error }, `the ${hook} hook failed`)
  }

  addSubscription(subscription: Subscription): void {
    // As long as needed: `push` and a spread leave room for 17, and most clients are in a few channels. A loop, for
    // `concat` takes ten times as long.
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

  /** The server has set when the connection expires, and says so. */
  refresh(expiresAtMs: number | undefined): void {
    if (expiresAtMs === undefined) this.push(undefined, 'refresh', {})
    else if (expiresAtMs > Date.now()) {
      this.push(undefined, 'refresh', { expires: true, ttl: secondsUntil(expiresAtMs) })
    }
    this.expireAt(expiresAtMs)
  }

  /** Sets when the connection expires. */
  expireAt(expiresAtMs: number | undefined): void {
    if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) {
      this.close(DISCONNECTS.connectionExpired)
      return
    }
    this.expiresAtMs = expiresAtMs
    this.lookAgain()
  }

  override close(close: Close): void {
    for (const { channel } of this.subscriptions) this.context.hub.flush(channel)
    super.close(close)
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
    this.forgetCommands()
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
      this.hookFailed('disconnect', error)
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
