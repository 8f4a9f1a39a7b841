/** What a token says of a channel that the server subscribes a connection to. */
export interface ChannelGrant {
  /** One line of JSON, for the channel's presence and joins. */
  readonly info: string | undefined
  /** One line of JSON, for the client. */
  readonly data: string | undefined
}

/** Who a connection is, as its token says. */
export interface Identity {
  /** Empty for somebody without a name. */
  readonly user: string
  /** The only channels that a raw client may join, and those that a client of the Centrifuge protocol is subscribed to. */
  readonly channels: readonly string[] | undefined
  /** Further channels to subscribe a client of the Centrifuge protocol to. */
  readonly subs: Readonly<Record<string, ChannelGrant>> | undefined
  /** One line of JSON, for presence and joins. */
  readonly info: string | undefined
  /** Unix time in milliseconds at which the connection expires. */
  readonly expiresAtMs: number | undefined
}

/** What the token of a subscription grants. */
export interface SubscriptionTokenGrant {
  /** One line of JSON, for the channel's presence and joins. */
  readonly info: string | undefined
  /** Unix time in milliseconds at which the subscription expires. */
  readonly expiresAtMs: number | undefined
}

/**
 * Why nobody was recognised; the label of `fanfare_auth_failures_total`. `key_unknown`: the key that the token names is
 * not known yet, so that the same token may be good in a moment.
 */
export type AuthFailure = 'missing' | 'invalid' | 'expired' | 'not_yet_valid' | 'key_unknown'

export type Authentication =
  | { readonly identity: Identity; readonly failure?: undefined }
  | { readonly identity?: undefined; readonly failure: AuthFailure }

export type SubscriptionAuthentication =
  | { readonly grant: SubscriptionTokenGrant; readonly failure?: undefined }
  | { readonly grant?: undefined; readonly failure: AuthFailure }

/** Recognises clients by their tokens, locally, without asking anyone. */
export interface Authenticator {
  /** Never throws. The time that a wrong token takes does not tell how much of it was right. */
  authenticate(token: string | undefined): Authentication
  /** Of a token for one channel, which must be this user's and for this channel. Never throws. */
  authenticateSubscription(token: string, user: string, channel: string): SubscriptionAuthentication
}
