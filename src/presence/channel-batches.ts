/** Channels of which something is done together: one that takes too long holds up, or fails, no more than these. */
const MAX_CHANNELS = 100

interface PendingRequest<T, R> {
  readonly item: T
  readonly resolve: (result: R) => void
  readonly reject: (error: unknown) => void
}

/** What is asked for of one channel. */
export interface ChannelBatch<T> {
  readonly channel: string
  readonly items: readonly T[]
}

/**
 * Gathers what one loop iteration asks for, by channel, to be done together: when thousands of clients come back at once,
 * most of what each would cost is paid once for many.
 */
export class ChannelBatches<T, R> {
  private waiting = new Map<string, PendingRequest<T, R>[]>()

  constructor(
    /** Resolves with what became of each batch, with a result for each item; or rejects, which is then the answer to all. */
    private readonly execute: (
      batches: readonly ChannelBatch<T>[],
    ) => Promise<readonly PromiseSettledResult<readonly R[]>[]>,
  ) {}

  add(channel: string, item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.waiting.size === 0) setImmediate(() => this.flush())
      const asked = { item, resolve, reject }
      const sameChannel = this.waiting.get(channel)
      if (sameChannel === undefined) this.waiting.set(channel, [asked])
      else sameChannel.push(asked)
    })
  }

  /** Begins what waits. To be called before anything that has to come behind it. */
  flush(): void {
    const waiting = [...this.waiting]
    this.waiting = new Map()
    for (let start = 0; start < waiting.length; start += MAX_CHANNELS) {
      void this.run(waiting.slice(start, start + MAX_CHANNELS))
    }
  }

  private async run(askedOf: readonly (readonly [string, readonly PendingRequest<T, R>[]])[]): Promise<void> {
    const batches = askedOf.map(([channel, asked]) => ({ channel, items: asked.map(({ item }) => item) }))
    try {
      const outcomes = await this.execute(batches)
      for (const [index, [, asked]] of askedOf.entries()) settle(asked, outcomes[index])
    } catch (error) {
      for (const [, asked] of askedOf) for (const { reject } of asked) reject(error)
    }
  }
}

function settle<T, R>(
  asked: readonly PendingRequest<T, R>[],
  outcome: PromiseSettledResult<readonly R[]> | undefined,
): void {
  if (outcome?.status !== 'fulfilled') {
    for (const { reject } of asked) reject(outcome?.reason)
    return
  }
  for (const [index, { resolve, reject }] of asked.entries()) {
    const result = outcome.value[index]
    if (result === undefined) reject(new Error('there is no result for it'))
    else resolve(result)
  }
}
