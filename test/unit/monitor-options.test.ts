import { describe, expect, it } from 'vitest'
import { runMonitor } from '../../src/cli/monitor/monitor.js'

describe('a monitor rejects at once', () => {
  it.each([
    ['a bad address', { url: 'http://127.0.0.1:1' }, 'bad address'],
    ['an invalid header name', { url: 'ws://127.0.0.1:1', token: 't', header: 'a b' }, 'HTTP header'],
    ['a token that is no valid header value', { url: 'ws://127.0.0.1:1', token: 'a\nb' }, 'HTTP header'],
    [
      'an interval too long for a timer',
      { url: 'ws://127.0.0.1:1', reportIntervalMs: 2 ** 31 },
      'report every',
    ],
  ])('for %s', async (_, options, message) => {
    const io = { print: () => undefined, signal: new AbortController().signal }
    const complete = { reportIntervalMs: 50, binary: false, ...options }
    await expect(runMonitor(complete, io)).rejects.toThrow(message)
  })
})
