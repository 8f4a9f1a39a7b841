/** What others are told of a client: in presence, with joins and leaves, and with what it publishes. */
export interface ClientInfo {
  readonly client: string
  /** Empty for somebody without a name. */
  readonly user: string
  /** One line of JSON, as the connection's token gave it. */
  readonly connInfo: string | undefined
  /** One line of JSON, as the subscription's token gave it. */
  readonly chanInfo: string | undefined
}
