import { describe, expect, it } from 'vitest'
import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../../src/channel/namespaces.js'
import { mayPublish, mayReadHistory, mayReadPresence, subscribeRule } from '../../src/channel/permissions.js'

function namespace(part: Partial<NamespaceOptions> = {}): NamespaceOptions {
  return { ...DEFAULT_NAMESPACE_OPTIONS, name: 'chat', ...part }
}

const EVERYBODY = { allowSubscribeForClient: true, allowSubscribeForAnonymous: true }

describe('subscribing without a token for the channel', () => {
  it.each([
    ['nobody', {}, 'denied', 'denied'],
    ['clients with a name', { allowSubscribeForClient: true }, 'allowed', 'denied'],
    ['clients without a name', { allowSubscribeForAnonymous: true }, 'denied', 'allowed'],
    ['everybody', EVERYBODY, 'allowed', 'allowed'],
  ])('is for %s where the namespace says so', (_who, options, named, anonymous) => {
    expect(subscribeRule(namespace(options), 'chat:room', 'ann')).toBe(named)
    expect(subscribeRule(namespace(options), 'chat:room', '')).toBe(anonymous)
  })

  it('is for nobody in a private channel', () => {
    expect(subscribeRule(namespace(EVERYBODY), '$chat:room', 'ann')).toBe('token')
    expect(subscribeRule(namespace(), '$chat:room', '')).toBe('token')
    const limited = namespace({ ...EVERYBODY, allowUserLimitedChannels: true })
    expect(subscribeRule(limited, '$chat:room#ann', 'ann')).toBe('token')
  })

  it.each([
    ['chat:room#ann', 'ann', 'allowed'],
    ['chat:room#bob,ann', 'ann', 'allowed'],
    ['chat:room#bob', 'ann', 'denied'],
    ['chat:room#anna', 'ann', 'denied'],
    ['chat:room#ann ', 'ann', 'denied'],
    ['chat:room#bob', '', 'denied'],
    ['chat:room#', '', 'denied'],
    ['chat:room#ann,', '', 'denied'],
  ])('of %s is for the users it names: %j is %s', (channel, user, rule) => {
    expect(subscribeRule(namespace({ allowUserLimitedChannels: true }), channel, user)).toBe(rule)
    const open = namespace({ ...EVERYBODY, allowUserLimitedChannels: true })
    expect(subscribeRule(open, channel, user)).toBe(rule)
  })

  it('follows the rule for all others where channels may not name users', () => {
    expect(subscribeRule(namespace(EVERYBODY), 'chat:room#bob', 'ann')).toBe('allowed')
    expect(subscribeRule(namespace(), 'chat:room#ann', 'ann')).toBe('denied')
  })

  it.each([
    ['chat:17', 'allowed'],
    ['chat:x17', 'denied'],
    ['chat:17x', 'denied'],
    ['chat:', 'denied'],
    ['$chat:17', 'token'],
    ['$chat:x', 'denied'],
  ])('of %s is %s where names must be numbers', (channel, rule) => {
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
    'a subscriber': { user: 'ann', isSubscribed: true },
    'a subscriber without a name': { user: '', isSubscribed: true },
    'a client': { user: 'ann', isSubscribed: false },
    'a client without a name': { user: '', isSubscribed: false },
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

  it('is not for anybody for what else is allowed', () => {
    const others = Object.keys(DEFAULT_NAMESPACE_OPTIONS).filter(
      (key) => key.startsWith('allow') && !key.startsWith(`allow${what}`),
    )
    const options = namespace(Object.fromEntries(others.map((key) => [key, true])))
    expect(Object.values(actors).filter((actor) => may(options, actor))).toEqual([])
  })
})
