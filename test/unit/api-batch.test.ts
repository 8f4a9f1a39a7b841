import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type BatchedMethod, runBatch } from '../../src/http/api-batch.js'

const commands = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ publish: { channel: `${index}`, data: 1 } }))

describe('a batch', () => {
  let started: BatchedMethod[]
  const takeThreeSeconds = async (method: BatchedMethod) => {
    started.push(method)
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    return { result: {} }
  }

  beforeEach(() => {
    vi.useFakeTimers()
    started = []
  })
  afterEach(() => vi.useRealTimers())

  it('starts no method after 10 s, and answers the rest as not done', async () => {
    const batch = runBatch({ commands: commands(6), parallel: false }, takeThreeSeconds)
    await vi.runAllTimersAsync()
    const { replies } = await batch
    expect(started).toHaveLength(4)
    expect(replies.slice(0, 4)).toEqual(Array(4).fill({ publish: {} }))
    expect(replies.slice(4)).toEqual(
      Array(2).fill({
        error: { code: 100, message: expect.stringContaining('not done'), temporary: true },
      }),
    )
  })

  it('starts all methods at once when it is parallel', async () => {
    const batch = runBatch({ commands: commands(6), parallel: true }, takeThreeSeconds)
    expect(started).toHaveLength(6)
    await vi.advanceTimersByTimeAsync(3_000)
    expect((await batch).replies).toEqual(Array(6).fill({ publish: {} }))
  })

  it('answers a name from the object prototype as an unknown method', async () => {
    const batch = runBatch({ commands: [{ toString: {} }], parallel: false }, takeThreeSeconds)
    expect((await batch).replies).toEqual([{ error: { code: 104, message: 'method not found: "toString"' } }])
  })
})
