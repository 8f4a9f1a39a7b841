/** A channel of the token's `subs` claim, to which the server subscribes the connection. */
export interface ChannelGrant {
  /** One line of JSON that presence and joins of the channel show. */
  readonly info: string | undefined
  /** One line of JSON that the client gets with the subscription. */
  readonly data: string | undefined
}

/** The user of a connection and what its token grants. */
export interface Identity {
  /** Empty for an anonymous user. */
  readonly user: string
  /**
   * The only channels that a raw client may subscribe to; a client of the Centrifuge protocol is subscribed to all of
   * them. Undefined: the token limits nothing.
   */
  readonly channels: readonly string[] | undefined
  /** Further channels, by name, to which a client of the Centrifuge protocol is subscribed. */
  readonly subs: Readonly<Record<string, ChannelGrant>> | undefined
  /** One line of JSON that presence and joins of every channel show. */
  readonly info: string | undefined
  /** Unix time in milliseconds at which the connection expires. Undefined: never. */
  readonly expiresAtMs: number | undefined
}

/** What a subscription token grants. */
export interface SubscriptionTokenGrant {
  /** One line of JSON that presence and joins of the channel show. */
  readonly info: string | undefined
  /** Unix time in milliseconds at which the subscription expires. Undefined: never. */
  readonly expiresAtMs: number | undefined
}

/**
 * Why a token was not accepted; the label `reason` of `fanfare_auth_failures_total`. `key_unknown`: the node does not
 * know the key that the token names yet, so that the same token may be valid a moment later.
 */
export type AuthFailure = 'missing' | 'invalid' | 'expired' | 'not_yet_valid' | 'key_unknown'

export type Authentication =
  | { readonly identity: Identity; readonly failure?: undefined }
  | { readonly identity?: undefined; readonly failure: AuthFailure }

export type SubscriptionAuthentication =
  | { readonly grant: SubscriptionTokenGrant; readonly failure?: undefined }
  | { readonly grant?: undefined; readonly failure: AuthFailure }

/** Authenticates clients by their tokens on this node alone, without a request to another service. */
export interface Authenticator {
  /**
   * Authenticates a connection. Never throws. The time that a wrong token takes does not depend on how much of it is
   * right.
   */
  authenticate(token: string | undefined): Authentication
  /** Verifies a subscription token, which must be for this user and this channel. Never throws. */
  authenticateSubscription(token: string, user: string, channel: string): SubscriptionAuthentication
}
