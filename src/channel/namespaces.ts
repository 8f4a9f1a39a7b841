/** What may be done in the channels of a namespace, and what is kept of them. */
export interface NamespaceOptions {
  /** Empty: channels without a prefix. */
  readonly name: string
  readonly presence: boolean
  readonly joinLeave: boolean
  readonly forcePushJoinLeave: boolean
  /** Publications kept; 0: none. */
  readonly historySize: number
  readonly historyTtlMs: number
  readonly historyMetaTtlMs: number
  readonly forcePositioning: boolean
  readonly forceRecovery: boolean
  readonly forceRecoveryMode: 'stream' | 'cache'
  readonly allowSubscribeForClient: boolean
  readonly allowSubscribeForAnonymous: boolean
  readonly allowUserLimitedChannels: boolean
  readonly allowPublishForSubscriber: boolean
  readonly allowPublishForClient: boolean
  readonly allowPublishForAnonymous: boolean
  readonly allowHistoryForSubscriber: boolean
  readonly allowHistoryForClient: boolean
  readonly allowHistoryForAnonymous: boolean
  readonly allowPresenceForSubscriber: boolean
  readonly allowPresenceForClient: boolean
  readonly allowPresenceForAnonymous: boolean
  /** What the part of a name after the namespace must match. */
  readonly channelRegex: RegExp | undefined
  /** `json`: what raw clients publish must be JSON. What others publish always is. */
  readonly publicationDataFormat: 'json' | 'any'
  /** The least time between two deliveries in a channel; 0: none. */
  readonly deliveryDelayMs: number
}

/** A namespace that allows and keeps nothing but what it says. */
export const DEFAULT_NAMESPACE_OPTIONS: Omit<NamespaceOptions, 'name'> = {
  presence: false,
  joinLeave: false,
  forcePushJoinLeave: false,
  historySize: 0,
  historyTtlMs: 0,
  historyMetaTtlMs: 30 * 24 * 3_600_000,
  forcePositioning: false,
  forceRecovery: false,
  forceRecoveryMode: 'stream',
  allowSubscribeForClient: false,
  allowSubscribeForAnonymous: false,
  allowUserLimitedChannels: false,
  allowPublishForSubscriber: false,
  allowPublishForClient: false,
  allowPublishForAnonymous: false,
  allowHistoryForSubscriber: false,
  allowHistoryForClient: false,
  allowHistoryForAnonymous: false,
  allowPresenceForSubscriber: false,
  allowPresenceForClient: false,
  allowPresenceForAnonymous: false,
  channelRegex: undefined,
  publicationDataFormat: 'any',
  deliveryDelayMs: 0,
}

/** Without any namespace configured: whoever is let in may subscribe, publish and see who is there; nothing is kept. */
const OPEN_NAMESPACE: NamespaceOptions = {
  ...DEFAULT_NAMESPACE_OPTIONS,
  name: '',
  presence: true,
  joinLeave: true,
  allowSubscribeForClient: true,
  allowSubscribeForAnonymous: true,
  allowUserLimitedChannels: true,
  allowPublishForSubscriber: true,
  allowPublishForClient: true,
  allowPublishForAnonymous: true,
  // There is none, which is a better answer than that it may not be read.
  allowHistoryForSubscriber: true,
  allowHistoryForClient: true,
  allowHistoryForAnonymous: true,
  allowPresenceForSubscriber: true,
  allowPresenceForClient: true,
  allowPresenceForAnonymous: true,
}

const PRIVATE_PREFIX = '$'
const NAMESPACE_SEPARATOR = ':'
const USERS_SEPARATOR = '#'

/** The namespaces of a cluster. */
export class Namespaces {
  private readonly byName: ReadonlyMap<string, NamespaceOptions>

  /** Undefined: one open namespace for all channels, whatever they are called. */
  constructor(private readonly configured: readonly NamespaceOptions[] | undefined) {
    this.byName = new Map((configured ?? [OPEN_NAMESPACE]).map((namespace) => [namespace.name, namespace]))
  }

  get names(): readonly string[] {
    return [...this.byName.keys()]
  }

  /** The namespace that a channel belongs to: what stands before its first colon. Undefined where there is none. */
  of(channel: string): NamespaceOptions | undefined {
    if (this.configured === undefined) return OPEN_NAMESPACE
    const rest = isPrivate(channel) ? channel.slice(PRIVATE_PREFIX.length) : channel
    const end = rest.indexOf(NAMESPACE_SEPARATOR)
    return this.byName.get(end < 0 ? '' : rest.slice(0, end))
  }
}

/** Whether one may only subscribe with a token for the channel. */
export function isPrivate(channel: string): boolean {
  return channel.startsWith(PRIVATE_PREFIX)
}

/** The only users that may subscribe, of `news#17,42`; undefined where the name doesn't say. */
export function userLimit(channel: string): readonly string[] | undefined {
  const at = channel.indexOf(USERS_SEPARATOR)
  return at < 0 ? undefined : channel.slice(at + 1).split(',')
}

/** Whether a stream of the channel's publications is kept. */
export function keepsStream({ historySize, historyTtlMs }: NamespaceOptions): boolean {
  return historySize > 0 && historyTtlMs > 0
}
