import { allowedUsers, isPrivate, type NamespaceOptions, withoutPrivatePrefix } from './namespaces.js'

/** `token`: only with a subscription token for the channel. */
export type SubscribeRule = 'allowed' | 'token' | 'denied'

/** A client's request to publish to a channel, or to read its history or presence. */
export interface AccessRequest {
  readonly channel: string
  /** Empty for an anonymous user. */
  readonly user: string
  readonly isSubscribed: boolean
}

/** The permissions of a namespace for one kind of request, by who asks. */
interface Permissions {
  readonly forSubscriber: boolean
  readonly forClient: boolean
  readonly forAnonymous: boolean
}

/**
 * Whether a user may subscribe to a channel. A token does not help against `denied`, which is for a channel name that
 * the namespace's `channelRegex` does not match, and for a user that is not among those in the channel name.
 */
export function subscribeRule(namespace: NamespaceOptions, channel: string, user: string): SubscribeRule {
  if (!matchesRegex(namespace, channel)) return 'denied'
  const users = allowedUsers(channel)
  if (users !== undefined && (user === '' || !users.includes(user))) return 'denied'
  if (isPrivate(channel)) return 'token'
  if (users !== undefined) return namespace.allowUserLimitedChannels ? 'allowed' : 'token'
  const isAllowed = user === '' ? namespace.allowSubscribeForAnonymous : namespace.allowSubscribeForClient
  return isAllowed ? 'allowed' : 'token'
}

export function mayPublish(namespace: NamespaceOptions, request: AccessRequest): boolean {
  return isPermitted(namespace, request, {
    forSubscriber: namespace.allowPublishForSubscriber,
    forClient: namespace.allowPublishForClient,
    forAnonymous: namespace.allowPublishForAnonymous,
  })
}

export function mayReadHistory(namespace: NamespaceOptions, request: AccessRequest): boolean {
  return isPermitted(namespace, request, {
    forSubscriber: namespace.allowHistoryForSubscriber,
    forClient: namespace.allowHistoryForClient,
    forAnonymous: namespace.allowHistoryForAnonymous,
  })
}

export function mayReadPresence(namespace: NamespaceOptions, request: AccessRequest): boolean {
  return isPermitted(namespace, request, {
    forSubscriber: namespace.allowPresenceForSubscriber,
    forClient: namespace.allowPresenceForClient,
    forAnonymous: namespace.allowPresenceForAnonymous,
  })
}

/**
 * A permission of subscribers needs no further check. One of other clients does not count in a channel whose name
 * excludes them: a private channel, or one to which `subscribeRule` denies the user.
 */
function isPermitted(
  namespace: NamespaceOptions,
  { channel, user, isSubscribed }: AccessRequest,
  { forSubscriber, forClient, forAnonymous }: Permissions,
): boolean {
  if (isSubscribed && forSubscriber) return true
  if (!(user === '' ? forAnonymous : forClient)) return false
  return !isPrivate(channel) && subscribeRule(namespace, channel, user) !== 'denied'
}

function matchesRegex({ name, channelRegex }: NamespaceOptions, channel: string): boolean {
  if (channelRegex === undefined) return true
  const rest = withoutPrivatePrefix(channel)
  return channelRegex.test(name === '' ? rest : rest.slice(name.length + 1))
}
