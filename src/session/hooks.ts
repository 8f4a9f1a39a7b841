/** What an application says of somebody who connects. */
export interface ConnectDecision {
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
  readonly client: string
  readonly token: string
  readonly data: unknown
  readonly name: string
  readonly version: string
}

export interface SubscribeRequest {
  readonly client: string
  readonly user: string
  readonly channel: string
  readonly token: string
  readonly data: unknown
}

export interface SubscribeDecision {
  /** Any JSON value: goes into the channel's presence and joins. */
  readonly info?: unknown
  /** Any JSON value: handed to the client with the reply. */
  readonly data?: unknown
  /** Unix time in seconds at which the subscription expires. */
  readonly expireAt?: number
}

export interface PublishRequest {
  readonly client: string
  readonly user: string
  readonly channel: string
  readonly data: unknown
}

export interface RpcRequest {
  readonly client: string
  readonly user: string
  readonly method: string
  readonly data: unknown
}

export interface DisconnectEvent {
  readonly client: string
  readonly user: string
  readonly code: number
  readonly reason: string
}

type Answer<T> = T | Promise<T>

/**
 * Where an embedding application takes part. Each may refuse by throwing a ProtocolError, which the client gets; whatever
 * else is thrown is logged, and the client gets error 100.
 */
export interface Hooks {
  /** Instead of verifying the token here; undefined: verify it as configured. */
  readonly connect?: (request: ConnectRequest) => Answer<ConnectDecision | undefined>
  /** Beside the namespace's rules, which stand unless this gives a decision. */
  readonly subscribe?: (request: SubscribeRequest) => Answer<SubscribeDecision | undefined>
  /** Beside the namespace's rules, which stand. What it gives is published instead of the data. */
  readonly publish?: (request: PublishRequest) => Answer<{ readonly data: unknown } | undefined>
  /** Any JSON value, for the caller. */
  readonly rpc?: (request: RpcRequest) => Answer<unknown>
  readonly disconnect?: (event: DisconnectEvent) => void
}
