import { describe, expect, it } from 'vitest'
import { channelNameProblem, MAX_CHANNEL_NAME_BYTES } from '../../src/channel/channel-name.js'

describe('a channel name', () => {
  it.each(['a', 'news:sport', '$private', 'user#17,42', 'with space', 'a/b?c=d', '~', '*', 'x'.repeat(255)])(
    'may be %j',
    (name) => expect(channelNameProblem(name)).toBeUndefined(),
  )

  it('must not be empty', () => expect(channelNameProblem('')).toBe('a channel name must not be empty'))

  it.each(['é', '房间', 'a\n', '\n', 'a\0b', '\x7f', '\x1f', 'a\tb', '😀', '\ud800', 'a\u2028b'])(
    'must be printable ASCII, unlike %j',
    (name) => expect(channelNameProblem(name)).toBe('a channel name must be printable ASCII'),
  )

  it('has at most 255 bytes', () => {
    expect(MAX_CHANNEL_NAME_BYTES).toBe(255)
    expect(channelNameProblem('x'.repeat(256))).toBe(
      'a channel name must have at most 255 bytes, this one has 256',
    )
  })

  it('that is very long is checked promptly', () => {
    expect(channelNameProblem('x'.repeat(1_000_000))).toContain('at most 255 bytes')
  })
})
