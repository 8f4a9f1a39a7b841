/** What others receive about a client: in presence, with joins and leaves, and with its publications. */
export interface ClientInfo {
  /** Id of the connection. */
  readonly client: string
  /** Empty for an anonymous user. */
  readonly user: string
  /** One line of JSON, as the connection's token gave it. */
  readonly connInfo: string | undefined
  /** One line of JSON, as the subscription's token gave it. */
  readonly chanInfo: string | undefined
}
