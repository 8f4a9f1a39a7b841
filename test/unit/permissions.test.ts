import { describe, expect, it } from 'vitest'
import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../../src/channel/namespaces.js'
import { mayPublish, mayReadHistory, mayReadPresence, subscribeRule } from '../../src/channel/permissions.js'

function namespace(part: Partial<NamespaceOptions> = {}): NamespaceOptions {
  return { ...DEFAULT_NAMESPACE_OPTIONS, name: 'chat', ...part }
}

const ALL_USERS = { allowSubscribeForClient: true, allowSubscribeForAnonymous: true }

describe('subscribing', () => {
  it.each([
    ['no user', {}, 'token', 'token'],
    ['named users', { allowSubscribeForClient: true }, 'allowed', 'token'],
    ['anonymous users', { allowSubscribeForAnonymous: true }, 'token', 'allowed'],
    ['all users', ALL_USERS, 'allowed', 'allowed'],
  ])(
    'is allowed for %s without a token by the options of the namespace',
    (_users, options, named, anonymous) => {
      expect(subscribeRule(namespace(options), 'chat:room', 'ann')).toBe(named)
      expect(subscribeRule(namespace(options), 'chat:room', '')).toBe(anonymous)
    },
  )

  it('needs a token in a private channel, whatever the namespace allows', () => {
    expect(subscribeRule(namespace(ALL_USERS), '$chat:room', 'ann')).toBe('token')
    expect(subscribeRule(namespace(), '$chat:room', '')).toBe('token')
    const limited = namespace({ ...ALL_USERS, allowUserLimitedChannels: true })
    expect(subscribeRule(limited, '$chat:room#ann', 'ann')).toBe('token')
    expect(subscribeRule(limited, '$chat:room#bob', 'ann')).toBe('denied')
  })

  it.each([
    ['chat:room#ann', 'ann', true],
    ['chat:room#bob,ann', 'ann', true],
    ['chat:room#bob', 'ann', false],
    ['chat:room#anna', 'ann', false],
    ['chat:room#ann ', 'ann', false],
    ['chat:room#bob', '', false],
    ['chat:room#', '', false],
    ['chat:room#ann,', '', false],
  ])('to %s as the user %j is allowed when the channel name lists the user: %s', (channel, user, isNamed) => {
    for (const options of [{}, ALL_USERS]) {
      const limited = namespace({ ...options, allowUserLimitedChannels: true })
      expect(subscribeRule(limited, channel, user)).toBe(isNamed ? 'allowed' : 'denied')
      // Without that option, listed users need a token, and all others are denied as well.
      expect(subscribeRule(namespace(options), channel, user)).toBe(isNamed ? 'token' : 'denied')
    }
  })

  it.each([
    ['chat:17', 'allowed'],
    ['chat:x17', 'denied'],
    ['chat:17x', 'denied'],
    ['chat:', 'denied'],
    ['$chat:17', 'token'],
    ['$chat:x', 'denied'],
  ])('to %s is %s where channel_regex matches only numbers', (channel, rule) => {
    const numbers = namespace({ ...ALL_USERS, channelRegex: /^\d+$/ })
    expect(subscribeRule(numbers, channel, 'ann')).toBe(rule)
  })

  it('matches the whole channel name in the namespace without a name', () => {
    const numbers = namespace({ ...ALL_USERS, name: '', channelRegex: /^\d+$/ })
    expect(subscribeRule(numbers, '17', 'ann')).toBe('allowed')
    expect(subscribeRule(numbers, '$17', 'ann')).toBe('token')
    expect(subscribeRule(numbers, 'x:17', 'ann')).toBe('denied')
  })
})

describe.each([
  ['Publish', mayPublish],
  ['History', mayReadHistory],
  ['Presence', mayReadPresence],
] as const)('%s', (what, may) => {
  const requests = {
    'a subscriber': { channel: 'chat:room', user: 'ann', isSubscribed: true },
    'an anonymous subscriber': { channel: 'chat:room', user: '', isSubscribed: true },
    'a client': { channel: 'chat:room', user: 'ann', isSubscribed: false },
    'an anonymous client': { channel: 'chat:room', user: '', isSubscribed: false },
  }

  it.each([
    [{}, []],
    [{ [`allow${what}ForSubscriber`]: true }, ['a subscriber', 'an anonymous subscriber']],
    [{ [`allow${what}ForClient`]: true }, ['a subscriber', 'a client']],
    [{ [`allow${what}ForAnonymous`]: true }, ['an anonymous subscriber', 'an anonymous client']],
  ])('with %j is allowed for %j', (options, expected) => {
    const allowed = Object.entries(requests).filter(([, request]) => may(namespace(options), request))
    expect(allowed.map(([name]) => name)).toEqual(expected)
  })

  it('is allowed only for subscribers in private channels and in those whose name excludes the user', () => {
    const all = namespace({
      [`allow${what}ForSubscriber`]: true,
      [`allow${what}ForClient`]: true,
      [`allow${what}ForAnonymous`]: true,
      channelRegex: /^\w+(#.*)?$/,
    })
    for (const channel of ['$chat:room', 'chat:room#bob', 'chat:no-word']) {
      expect(may(all, { channel, user: 'ann', isSubscribed: true })).toBe(true)
      expect(may(all, { channel, user: 'ann', isSubscribed: false })).toBe(false)
      expect(may(all, { channel, user: '', isSubscribed: false })).toBe(false)
    }
    expect(may(all, { channel: 'chat:room#ann', user: 'ann', isSubscribed: false })).toBe(true)
  })

  it('is not allowed by the options for other actions', () => {
    const others = Object.keys(DEFAULT_NAMESPACE_OPTIONS).filter(
      (key) => key.startsWith('allow') && !key.startsWith(`allow${what}`),
    )
    const options = namespace(Object.fromEntries(others.map((key) => [key, true])))
    expect(Object.values(requests).filter((request) => may(options, request))).toEqual([])
  })
})
