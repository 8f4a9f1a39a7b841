import { describe, expect, it } from 'vitest'
import {
  allowedUsers,
  DEFAULT_NAMESPACE_OPTIONS,
  isPrivate,
  keepsStream,
  type NamespaceOptions,
  Namespaces,
} from '../../src/channel/namespaces.js'

function namespace(name: string, part: Partial<NamespaceOptions> = {}): NamespaceOptions {
  return { ...DEFAULT_NAMESPACE_OPTIONS, ...part, name }
}

describe('without namespaces configured, every channel', () => {
  const namespaces = new Namespaces(undefined)

  it.each(['room', 'chat:room', ':', '$private', '$chat:room', '__proto__', 'constructor:x'])(
    '(%s) belongs to the namespace without a name',
    (channel) => expect(namespaces.of(channel)?.name).toBe(''),
  )

  it('is open to every authenticated client, and keeps presence but no history', () => {
    const open = namespaces.of('room')
    expect(open?.name).toBe('')
    expect(open).toMatchObject({ presence: true, joinLeave: true, historySize: 0 })
    const denials = Object.entries(open ?? {}).filter(([key, value]) => key.startsWith('allow') && !value)
    expect(denials).toEqual([])
  })
})

describe('with namespaces configured, a channel', () => {
  const namespaces = new Namespaces([namespace('chat'), namespace('a.b-c_1'), namespace('')])

  it.each([
    ['chat:room', 'chat'],
    ['chat:', 'chat'],
    ['chat:room:more', 'chat'],
    ['chat::', 'chat'],
    ['chat:#17', 'chat'],
    ['a.b-c_1:x', 'a.b-c_1'],
    ['$chat:room', 'chat'],
    ['room', ''],
    ['chat', ''],
    ['$room', ''],
    ['$', ''],
    [':room', ''],
    ['$:room', ''],
  ])('%s belongs to "%s"', (channel, name) => expect(namespaces.of(channel)?.name).toBe(name))

  it.each([
    'Chat:room',
    'chat :room',
    'chat$:room',
    '$$chat:room',
    '__proto__:x',
    'constructor:x',
    '#chat:x',
  ])('%s belongs to no namespace', (channel) => expect(namespaces.of(channel)).toBeUndefined())

  it('without a prefix belongs to no namespace unless the one without a name is listed', () => {
    const only = new Namespaces([namespace('chat')])
    expect(only.of('chat:room')?.name).toBe('chat')
    expect(only.of('room')).toBeUndefined()
    expect(only.of('$room')).toBeUndefined()
    expect(new Namespaces([]).of('room')).toBeUndefined()
  })

  it('has no permission and no history that its namespace does not configure', () => {
    const options = Object.entries(namespaces.of('chat:room') ?? {})
    expect(options.filter(([, value]) => value === true)).toEqual([])
    expect(namespaces.of('chat:room')).toMatchObject({ historySize: 0, publicationDataFormat: 'any' })
  })
})

describe('the name of a channel', () => {
  it('makes it private by its first character only', () => {
    expect(isPrivate('$room')).toBe(true)
    expect(isPrivate('chat:$room')).toBe(false)
    expect(isPrivate('')).toBe(false)
  })

  it.each([
    ['news', undefined],
    ['news#17', ['17']],
    ['news#17,42', ['17', '42']],
    ['chat:dialog#ann,bob', ['ann', 'bob']],
    ['news#', ['']],
    ['news#17,', ['17', '']],
    ['news# 17', [' 17']],
    ['news#17#42', ['17#42']],
    ['#17', ['17']],
  ])('%s limits it to %j', (channel, users) => expect(allowedUsers(channel)).toEqual(users))
})

it.each([
  [0, 0, false],
  [10, 0, false],
  [0, 1_000, false],
  [10, 1_000, true],
])('a stream of %i publications for %i ms is kept: %s', (historySize, historyTtlMs, isKept) => {
  expect(keepsStream(namespace('chat', { historySize, historyTtlMs }))).toBe(isKept)
})
