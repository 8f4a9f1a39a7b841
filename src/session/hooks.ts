import { MAX_USER_LENGTH } from '../auth/claims.js'
import { errors } from '../protocol/errors.js'
import { isRecord } from '../type-guards.js'

/** An application's decision to accept a client that connects. */
export interface ConnectDecision {
  /** Empty for an anonymous user. */
  readonly user: string
  /** Any JSON value: becomes part of presence, joins and leaves. */
  readonly info?: unknown
  /** Any JSON value: the client receives it with the reply. */
  readonly data?: unknown
  /** Channels that the server subscribes the connection to. */
  readonly channels?: readonly string[]
  /** Unix time in seconds at which the connection expires. */
  readonly expireAt?: number
}

export interface ConnectRequest {
  /** Id of the connection. */
  readonly client: string
  /** As the client sent it, not verified; empty when it sent none. */
  readonly token: string
  readonly data: unknown
  /** Name and version of the SDK, as the client sent them. */
  readonly name: string
  readonly version: string
}

export interface SubscribeRequest {
  readonly client: string
  readonly user: string
  readonly channel: string
  /** As the client sent it, not verified; empty when it sent none. */
  readonly token: string
  readonly data: unknown
}

export interface SubscribeDecision {
  /** Any JSON value: becomes part of the channel's presence, joins and leaves. */
  readonly info?: unknown
  /** Any JSON value: the client receives it with the reply. */
  readonly data?: unknown
  /** Unix time in seconds at which the subscription expires. In the past: the client receives error 110. */
  readonly expireAt?: number
}

export interface PublishRequest {
  readonly client: string
  readonly user: string
  readonly channel: string
  readonly data: unknown
}

export interface PublishDecision {
  /** Any JSON value, which is published in place of the client's. */
  readonly data: unknown
}

export interface RpcRequest {
  readonly client: string
  readonly user: string
  readonly method: string
  readonly data: unknown
}

export interface ClientMessage {
  readonly client: string
  readonly user: string
  readonly data: unknown
}

export interface RefreshRequest {
  readonly client: string
  readonly user: string
  /** The channel of the subscription to refresh; undefined: the connection is refreshed. */
  readonly channel: string | undefined
  /** As the client sent it, not verified. */
  readonly token: string
}

export interface RefreshDecision {
  /**
   * Unix time in seconds at which the connection or subscription expires next; undefined: it does not expire any more.
   * In the past: a connection is closed with 3005, the client of a subscription receives error 110.
   */
  readonly expireAt?: number
}

export interface DisconnectEvent {
  readonly client: string
  readonly user: string
  readonly code: number
  readonly reason: string
}

/** A hook's result, at once or later. The client waits for as long as it takes: a timeout is up to the application. */
export type Answer<T> = T | PromiseLike<T>

/**
 * Functions of an embedding application that decide on requests of clients of the Centrifuge protocol; for raw clients
 * the settings alone decide. Each hook except `message` and `disconnect` refuses by throwing a ProtocolError, which the
 * client receives; any other error is logged, and the client receives error 100.
 */
export interface Hooks {
  /** Decides in place of verifying the token; on undefined, Fanfare verifies the token as configured. */
  readonly connect?: (request: ConnectRequest) => Answer<ConnectDecision | undefined>
  /** Decides in place of the namespace's rules and the token, which decide when the hook returns undefined. */
  readonly subscribe?: (request: SubscribeRequest) => Answer<SubscribeDecision | undefined>
  /**
   * Called for what the namespace's rules allow. Returns what is published in place of the client's data; on undefined,
   * the client's data is published.
   */
  readonly publish?: (request: PublishRequest) => Answer<PublishDecision | undefined>
  /** Returns any JSON value, which the client receives as the result. */
  readonly rpc?: (request: RpcRequest) => Answer<unknown>
  /** Receives what a client sends without expecting a reply, in order. Errors are logged, a ProtocolError too. */
  readonly message?: (event: ClientMessage) => Answer<void>
  /**
   * Sets the next expiry of a connection or subscription that has one, in place of verifying the token; on undefined,
   * Fanfare verifies the token as configured.
   */
  readonly refresh?: (request: RefreshRequest) => Answer<RefreshDecision | undefined>
  /**
   * Called after the end of a connection whose `connect` command succeeded. A connection that ends while the `connect`
   * hook decides is not reported. Errors are logged.
   */
  readonly disconnect?: (event: DisconnectEvent) => Answer<void>
}

/** The names of all hooks. The compiler rejects this list when one is missing. */
export const HOOK_NAMES = Object.keys({
  connect: true,
  subscribe: true,
  publish: true,
  rpc: true,
  message: true,
  refresh: true,
  disconnect: true,
} satisfies Record<keyof Hooks, true>)

/**
 * Throws a TypeError for a result that is no decision. Applications in JavaScript have no compiler that would reject
 * `false`, for example, which must not be taken for permission.
 */
export function checkDecision(hook: keyof Hooks, decision: object | undefined): void {
  if (decision === undefined) return
  // An Error as the result was meant to be thrown.
  if (isRecord(decision) && !(decision instanceof Error)) return
  throw new TypeError(`hooks.${hook}: gives an object or undefined; to refuse, it throws`)
}

/** Throws a TypeError for a decision with an invalid user or invalid channels. */
export function checkConnectDecision({ user, channels = [] }: ConnectDecision): void {
  if (typeof user !== 'string' || user.length > MAX_USER_LENGTH) {
    throw new TypeError(`hooks.connect: user must be a text of at most ${MAX_USER_LENGTH} characters`)
  }
  if (!Array.isArray(channels) || channels.some((channel) => typeof channel !== 'string')) {
    throw new TypeError('hooks.connect: channels must be a list of texts')
  }
}

/**
 * The expiry of a decision in Unix milliseconds; undefined: it does not expire. Throws a TypeError for an invalid time.
 */
export function expiryOf({ expireAt }: { readonly expireAt?: number }): number | undefined {
  if (expireAt === undefined) return undefined
  if (!Number.isFinite(expireAt)) throw new TypeError('hooks: expireAt must be Unix seconds')
  return expireAt * 1_000
}

/** The same for a subscription. Throws error 110 for an expiry in the past. */
export function futureExpiryOf(decision: { readonly expireAt?: number }): number | undefined {
  const expiresAtMs = expiryOf(decision)
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) {
    throw errors.expired('the application let it expire in the past')
  }
  return expiresAtMs
}

export function isPromise<T>(answer: Answer<T>): answer is PromiseLike<T> {
  return typeof (answer as Partial<PromiseLike<T>> | undefined | null)?.then === 'function'
}
