/** Who a connection is, as its token says. */
export interface Identity {
  /** Empty for somebody without a name. */
  readonly user: string
  /** The only channels a raw client may join; undefined: any. */
  readonly channels: readonly string[] | undefined
}

/** Why nobody was recognised; the label of `fanfare_auth_failures_total`. */
export type AuthFailure = 'missing' | 'invalid' | 'expired' | 'not_yet_valid'

export type Authentication =
  | { readonly identity: Identity; readonly failure?: undefined }
  | { readonly identity?: undefined; readonly failure: AuthFailure }

/** Recognises clients by their tokens, locally, without asking anyone. */
export interface Authenticator {
  /** Never throws and takes the same time for every wrong token. */
  authenticate(token: string | undefined): Authentication
}
