import { describe, expect, it } from 'vitest'
import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../../src/channel/namespaces.js'
import { mayPublish, mayReadHistory, mayReadPresence, subscribeRule } from '../../src/channel/permissions.js'

function namespace(part: Partial<NamespaceOptions> = {}): NamespaceOptions {
  return { ...DEFAULT_NAMESPACE_OPTIONS, name: 'chat', ...part }
}

const EVERYBODY = { allowSubscribeForClient: true, allowSubscribeForAnonymous: true }

describe('subscribing', () => {
  it.each([
    ['nobody', {}, 'token', 'token'],
    ['clients with a name', { allowSubscribeForClient: true }, 'allowed', 'token'],
    ['clients without a name', { allowSubscribeForAnonymous: true }, 'token', 'allowed'],
    ['everybody', EVERYBODY, 'allowed', 'allowed'],
  ])('is for %s without a token where the namespace says so', (_who, options, named, anonymous) => {
    expect(subscribeRule(namespace(options), 'chat:room', 'ann')).toBe(named)
    expect(subscribeRule(namespace(options), 'chat:room', '')).toBe(anonymous)
  })

  it('needs a token in a private channel, whatever the namespace says', () => {
    expect(subscribeRule(namespace(EVERYBODY), '$chat:room', 'ann')).toBe('token')
    expect(subscribeRule(namespace(), '$chat:room', '')).toBe('token')
    const limited = namespace({ ...EVERYBODY, allowUserLimitedChannels: true })
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
  ])('to %s as %j is for the users that it names: %s', (channel, user, isNamed) => {
    for (const others of [{}, EVERYBODY]) {
      const without = namespace({ ...others, allowUserLimitedChannels: true })
      expect(subscribeRule(without, channel, user)).toBe(isNamed ? 'allowed' : 'denied')
      // Elsewhere they need a token too, and all others are no less denied.
      expect(subscribeRule(namespace(others), channel, user)).toBe(isNamed ? 'token' : 'denied')
    }
  })

  it.each([
    ['chat:17', 'allowed'],
    ['chat:x17', 'denied'],
    ['chat:17x', 'denied'],
    ['chat:', 'denied'],
    ['$chat:17', 'token'],
    ['$chat:x', 'denied'],
  ])('to %s is %s where names must be numbers', (channel, rule) => {
    const numbers = namespace({ ...EVERYBODY, channelRegex: /^\d+$/ })
    expect(subscribeRule(numbers, channel, 'ann')).toBe(rule)
  })

  it('compares the whole name where the namespace has none', () => {
    const numbers = namespace({ ...EVERYBODY, name: '', channelRegex: /^\d+$/ })
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
  const actors = {
    'a subscriber': { channel: 'chat:room', user: 'ann', isSubscribed: true },
    'a subscriber without a name': { channel: 'chat:room', user: '', isSubscribed: true },
    'a client': { channel: 'chat:room', user: 'ann', isSubscribed: false },
    'a client without a name': { channel: 'chat:room', user: '', isSubscribed: false },
  }

  it.each([
    [{}, []],
    [{ [`allow${what}ForSubscriber`]: true }, ['a subscriber', 'a subscriber without a name']],
    [{ [`allow${what}ForClient`]: true }, ['a subscriber', 'a client']],
    [{ [`allow${what}ForAnonymous`]: true }, ['a subscriber without a name', 'a client without a name']],
  ])('with %j is for %j', (options, expected) => {
    const allowed = Object.entries(actors).filter(([, actor]) => may(namespace(options), actor))
    expect(allowed.map(([who]) => who)).toEqual(expected)
  })

  it('is for subscribers only in channels whose name keeps others out', () => {
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

  it('is not for anybody for what else is allowed', () => {
    const others = Object.keys(DEFAULT_NAMESPACE_OPTIONS).filter(
      (key) => key.startsWith('allow') && !key.startsWith(`allow${what}`),
    )
    const options = namespace(Object.fromEntries(others.map((key) => [key, true])))
    expect(Object.values(actors).filter((actor) => may(options, actor))).toEqual([])
  })
})
