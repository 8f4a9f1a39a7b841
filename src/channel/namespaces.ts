/** What clients may do in the channels of a namespace, and what is stored of the channels. */
export interface NamespaceOptions {
  /** Empty for the namespace of channels without a prefix. */
  readonly name: string
  readonly presence: boolean
  readonly joinLeave: boolean
  readonly forcePushJoinLeave: boolean
  /** Publications stored in history; 0: none. */
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
  /** A pattern that the part of a channel name after the namespace must match. */
  readonly channelRegex: RegExp | undefined
  /** `json`: data that raw clients publish must be JSON. Data of all other publishers always is. */
  readonly publicationDataFormat: 'json' | 'any'
  /** The least time between two deliveries in a channel; 0: none. */
  readonly deliveryDelayMs: number
}

/** The defaults of a configured namespace: it allows and keeps nothing that its entry does not ask for. */
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

/**
 * The only namespace when none is configured: every accepted client may subscribe, publish and read presence. No
 * history is stored.
 */
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
  // Reading history then fails because there is none, a more helpful error than a missing permission.
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

  /** `configured` undefined: one open namespace for all channels, whatever prefix their names have. */
  constructor(private readonly configured: readonly NamespaceOptions[] | undefined) {
    this.byName = new Map((configured ?? [OPEN_NAMESPACE]).map((namespace) => [namespace.name, namespace]))
  }

  /**
   * The namespace of a channel, by the part of its name before the first colon. Undefined when no such namespace
   * exists.
   */
  of(channel: string): NamespaceOptions | undefined {
    if (this.configured === undefined) return OPEN_NAMESPACE
    const name = withoutPrivatePrefix(channel)
    const end = name.indexOf(NAMESPACE_SEPARATOR)
    return this.byName.get(end < 0 ? '' : name.slice(0, end))
  }
}

/** Whether clients can only subscribe with a subscription token for the channel. */
export function isPrivate(channel: string): boolean {
  return channel.startsWith(PRIVATE_PREFIX)
}

/** A channel name without the `$` of a private channel. */
export function withoutPrivatePrefix(channel: string): string {
  return isPrivate(channel) ? channel.slice(PRIVATE_PREFIX.length) : channel
}

/**
 * The only users that may subscribe to a channel: 17 and 42 of `news#17,42`. Undefined when its name limits no users.
 */
export function allowedUsers(channel: string): readonly string[] | undefined {
  const at = channel.indexOf(USERS_SEPARATOR)
  return at < 0 ? undefined : channel.slice(at + 1).split(',')
}

/** Whether the channels of a namespace keep a stream of their publications. */
export function keepsStream({ historySize, historyTtlMs }: NamespaceOptions): boolean {
  return historySize > 0 && historyTtlMs > 0
}
