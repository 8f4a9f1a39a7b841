import { isPrivate, type NamespaceOptions, userLimit } from './namespaces.js'

/** `token`: with a token for the channel only. */
export type SubscribeRule = 'allowed' | 'token' | 'denied'

/** Somebody who wants to do something in a channel. */
export interface Actor {
  readonly channel: string
  /** Empty for somebody without a name. */
  readonly user: string
  readonly isSubscribed: boolean
}

/**
 * Whether a user may subscribe. What is `denied` stays so with a token: a name that the namespace does not have, and a
 * user that the channel's own list leaves out.
 */
export function subscribeRule(namespace: NamespaceOptions, channel: string, user: string): SubscribeRule {
  if (!matchesRegex(namespace, channel)) return 'denied'
  const users = userLimit(channel)
  if (users !== undefined && (user === '' || !users.includes(user))) return 'denied'
  if (isPrivate(channel)) return 'token'
  if (users !== undefined) return namespace.allowUserLimitedChannels ? 'allowed' : 'token'
  const isAllowed = user === '' ? namespace.allowSubscribeForAnonymous : namespace.allowSubscribeForClient
  return isAllowed ? 'allowed' : 'token'
}

export function mayPublish(namespace: NamespaceOptions, actor: Actor): boolean {
  const { allowPublishForSubscriber, allowPublishForClient, allowPublishForAnonymous } = namespace
  return may(namespace, actor, allowPublishForSubscriber, allowPublishForClient, allowPublishForAnonymous)
}

export function mayReadHistory(namespace: NamespaceOptions, actor: Actor): boolean {
  const { allowHistoryForSubscriber, allowHistoryForClient, allowHistoryForAnonymous } = namespace
  return may(namespace, actor, allowHistoryForSubscriber, allowHistoryForClient, allowHistoryForAnonymous)
}

export function mayReadPresence(namespace: NamespaceOptions, actor: Actor): boolean {
  const { allowPresenceForSubscriber, allowPresenceForClient, allowPresenceForAnonymous } = namespace
  return may(namespace, actor, allowPresenceForSubscriber, allowPresenceForClient, allowPresenceForAnonymous)
}

/**
 * Subscribers by their rule; others by theirs, and only where a channel's name doesn't keep it from them: that of a
 * private one, one that leaves the user out, one that the namespace does not have.
 */
function may(
  namespace: NamespaceOptions,
  { channel, user, isSubscribed }: Actor,
  bySubscriber: boolean,
  byClient: boolean,
  byAnonymous: boolean,
): boolean {
  if (isSubscribed && bySubscriber) return true
  if (!(user === '' ? byAnonymous : byClient)) return false
  return !isPrivate(channel) && subscribeRule(namespace, channel, user) !== 'denied'
}

function matchesRegex({ name, channelRegex }: NamespaceOptions, channel: string): boolean {
  if (channelRegex === undefined) return true
  const rest = isPrivate(channel) ? channel.slice(1) : channel
  return channelRegex.test(name === '' ? rest : rest.slice(name.length + 1))
}
