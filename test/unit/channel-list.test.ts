import { describe, expect, it } from 'vitest'
import { channelList, listChannels, MAX_LISTED_CHANNELS } from '../../src/node/survey-answers.js'

function* sizes(count: number): IterableIterator<[string, number]> {
  for (let index = 0; index < count; index++) yield [`room:${index}`, index + 1]
}

describe('the channels that a node lists in a survey', () => {
  it('are those that match the pattern, with their numbers of subscribers', () => {
    expect(listChannels(sizes(12), 'room:1?')).toEqual({
      channels: [
        ['room:10', 11],
        ['room:11', 12],
      ],
      isTruncated: false,
    })
  })

  it('are at most 10,000, and a longer list is marked as truncated', () => {
    expect(listChannels(sizes(MAX_LISTED_CHANNELS), '*').isTruncated).toBe(false)
    const list = listChannels(sizes(MAX_LISTED_CHANNELS + 1), '*')
    expect(list.isTruncated).toBe(true)
    expect(list.channels).toHaveLength(10_000)
    expect(channelList.safeParse(list).success).toBe(true)
  })

  it('keep names that are special in JavaScript', () => {
    const list = listChannels([['__proto__', 1]], '*')
    expect(channelList.parse(JSON.parse(JSON.stringify(list)))).toEqual({
      channels: [['__proto__', 1]],
      isTruncated: false,
    })
  })
})
