import type { NamespaceOptions } from '../channel/namespaces.js'
import type { Wishes } from '../hub/hub.js'

/** A session's place in a channel. */
export interface Subscription {
  readonly channel: string
  readonly namespace: NamespaceOptions
  readonly isServerSide: boolean
  readonly wishes: Wishes
  /** Whether its client is told when something was missed. */
  readonly isPositioned: boolean
  /** One line of JSON, as the token gave it. */
  readonly chanInfo: string | undefined
  /** Unix time in milliseconds. */
  expiresAtMs: number | undefined
  state: 'subscribing' | 'subscribed' | 'gone'
}
