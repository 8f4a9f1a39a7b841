import { MAX_USER_LENGTH } from '../auth/claims.js'
import { errors } from '../protocol/errors.js'

/** What an application says of somebody who connects. */
export interface ConnectDecision {
  /** Empty for somebody without a name. */
  readonly user: string
  /** Any JSON value: goes into presence and joins. */
  readonly info?: unknown
  /** Any JSON value: handed to the client with the reply. */
  readonly data?: unknown
  /** Channels that the connection is subscribed to by the server. */
  readonly channels?: readonly string[]
  /** Unix time in seconds at which the connection expires. */
  readonly expireAt?: number
}

export interface ConnectRequest {
  /** Id of the connection. */
  readonly client: string
  /** As the client sent it, not verified; empty where it sent none. */
  readonly token: string
  readonly data: unknown
  /** What the client says it is: the SDK's name and version. */
  readonly name: string
  readonly version: string
}

export interface SubscribeRequest {
  readonly client: string
  readonly user: string
  readonly channel: string
  /** As the client sent it, not verified; empty where it sent none. */
  readonly token: string
  readonly data: unknown
}

export interface SubscribeDecision {
  /** Any JSON value: goes into the channel's presence and joins. */
  readonly info?: unknown
  /** Any JSON value: handed to the client with the reply. */
  readonly data?: unknown
  /** Unix time in seconds at which the subscription expires. In the past: the client gets error 110. */
  readonly expireAt?: number
}

export interface PublishRequest {
  readonly client: string
  readonly user: string
  readonly channel: string
  readonly data: unknown
}

export interface PublishDecision {
  /** Any JSON value: is published instead. */
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
  /** The subscription's; undefined: it is the connection that is refreshed. */
  readonly channel: string | undefined
  /** As the client sent it, not verified. */
  readonly token: string
}

export interface RefreshDecision {
  /**
   * Unix time in seconds at which it expires next; undefined: it does not expire any more. In the past: a connection is
   * closed with 3005, the client of a subscription gets error 110.
   */
  readonly expireAt?: number
}

export interface DisconnectEvent {
  readonly client: string
  readonly user: string
  readonly code: number
  readonly reason: string
}

/** The client waits for it for as long as it takes: a limit of time is the application's. */
export type Answer<T> = T | PromiseLike<T>

/**
 * Where an embedding application takes part in what clients of the Centrifuge protocol do; raw clients follow the
 * settings alone. Each but `message` and `disconnect` may refuse by throwing a ProtocolError, which the client gets; whatever else is
 * thrown is logged, and the client gets error 100.
 */
export interface Hooks {
  /** Instead of verifying the token here; undefined: verify it as configured. */
  readonly connect?: (request: ConnectRequest) => Answer<ConnectDecision | undefined>
  /** Instead of the namespace's rules and the token, which decide where this gives undefined. */
  readonly subscribe?: (request: SubscribeRequest) => Answer<SubscribeDecision | undefined>
  /** After the namespace's rules, which stand. What it gives is published instead; undefined: what the client sent. */
  readonly publish?: (request: PublishRequest) => Answer<PublishDecision | undefined>
  /** Gives any JSON value, for the caller. */
  readonly rpc?: (request: RpcRequest) => Answer<unknown>
  /** What a client sends without waiting for an answer, in its order. What it throws, a ProtocolError too, is logged. */
  readonly message?: (event: ClientMessage) => Answer<void>
  /** What was given an `expireAt` gets another one. Instead of verifying the token here; undefined: verify it as configured. */
  readonly refresh?: (request: RefreshRequest) => Answer<RefreshDecision | undefined>
  /**
   * After a connection has ended whose `connect` was answered; one that goes away while the hook decides is not told of.
   * What it throws is logged.
   */
  readonly disconnect?: (event: DisconnectEvent) => Answer<void>
}

/** Every hook, by name: one that is missing here does not compile. */
export const HOOK_NAMES = Object.keys({
  connect: true,
  subscribe: true,
  publish: true,
  rpc: true,
  message: true,
  refresh: true,
  disconnect: true,
} satisfies Record<keyof Hooks, true>)

/** Throws for what is no decision, `false` for example, which must not let anybody in: no compiler looks at JavaScript. */
export function checkDecision(hook: keyof Hooks, decision: object | undefined): void {
  if (decision === undefined) return
  const isObject = typeof decision === 'object' && decision !== null && !Array.isArray(decision)
  // An error that was to be thrown.
  if (isObject && !(decision instanceof Error)) return
  throw new TypeError(`hooks.${hook}: gives an object or undefined; to refuse, it throws`)
}

/** Throws where an application decided on somebody that nobody can be. */
export function checkConnectDecision({ user, channels = [] }: ConnectDecision): void {
  if (typeof user !== 'string' || user.length > MAX_USER_LENGTH) {
    throw new TypeError(`hooks.connect: user must be a text of at most ${MAX_USER_LENGTH} characters`)
  }
  if (!Array.isArray(channels) || channels.some((channel) => typeof channel !== 'string')) {
    throw new TypeError('hooks.connect: channels must be a list of texts')
  }
}

/** When what an application decided expires, in Unix milliseconds; undefined: it does not. Throws for what is no time. */
export function expiryOf({ expireAt }: { readonly expireAt?: number }): number | undefined {
  if (expireAt === undefined) return undefined
  if (!Number.isFinite(expireAt)) throw new TypeError('hooks: expireAt must be Unix seconds')
  return expireAt * 1_000
}

/** The same for a subscription. Throws error 110 where it is in the past. */
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
