import type { NamespaceOptions } from '../channel/namespaces.js'
import type { WatchedEvents } from '../connection/connection.js'

/** A client session's subscription to a channel. */
export interface Subscription {
  readonly channel: string
  readonly namespace: NamespaceOptions
  readonly isServerSide: boolean
  readonly watched: WatchedEvents
  /** Whether its client is notified of lost publications. */
  readonly isPositioned: boolean
  /** One line of JSON, from the token. */
  readonly chanInfo: string | undefined
  /** Unix time in milliseconds. */
  expiresAtMs: number | undefined
  state: 'subscribing' | 'subscribed' | 'ended'
}
