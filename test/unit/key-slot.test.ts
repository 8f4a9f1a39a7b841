import { describe, expect, it } from 'vitest'
import { slotOf } from '../../src/redis/key-slot.js'

describe('the slot of a key', () => {
  // What CLUSTER KEYSLOT of Redis 7.0 answers.
  it.each([
    ['123456789', 12739],
    ['foo', 12182],
    ['foo{hash_tag}', 2515],
    ['{}foo', 9500],
    ['{{a}}b', 10276],
    ['{user1000}.following', 3443],
    ['é', 10180],
    ['', 0],
  ])('of %j is %i', (key, slot) => expect(slotOf(key)).toBe(slot))

  it('is the same for all keys with a hash tag', () => {
    expect(slotOf('fanfare:stream:{:room}')).toBe(slotOf('fanfare:channel:{:room}'))
  })
})
