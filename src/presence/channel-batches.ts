import { chunks } from '../chunks.js'

/** Channels in one execution: one channel that is slow, or fails the execution, affects no more than these. */
const MAX_CHANNELS = 100

interface PendingRequest<T, R> {
  readonly item: T
  readonly resolve: (result: R) => void
  readonly reject: (error: unknown) => void
}

/** The requests of one channel. */
export interface ChannelBatch<T> {
  readonly channel: string
  readonly items: readonly T[]
}

/**
 * Gathers the requests of one loop iteration by channel and executes them together: when thousands of clients reconnect
 * at once, most of what each request would cost is paid once for many.
 */
export class ChannelBatches<T, R> {
  private pendingByChannel = new Map<string, PendingRequest<T, R>[]>()
  private readonly running = new Set<Promise<void>>()

  constructor(
    /** Resolves with the outcome of each batch, which has a result for each item. Rejects where all of them failed. */
    private readonly execute: (
      batches: readonly ChannelBatch<T>[],
    ) => Promise<readonly PromiseSettledResult<readonly R[]>[]>,
  ) {}

  /** Resolves with the result for the item. Rejects as the execution, or the outcome of the channel, was rejected. */
  add(channel: string, item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.pendingByChannel.size === 0) setImmediate(() => void this.flush())
      const request = { item, resolve, reject }
      const sameChannel = this.pendingByChannel.get(channel)
      if (sameChannel === undefined) this.pendingByChannel.set(channel, [request])
      else sameChannel.push(request)
    })
  }

  /** Executes the pending requests at once. Resolves when all requests until now have their result. Never rejects. */
  async flush(): Promise<void> {
    const pending = [...this.pendingByChannel]
    this.pendingByChannel = new Map()
    for (const channels of chunks(pending, MAX_CHANNELS)) {
      const run = this.run(channels).finally(() => this.running.delete(run))
      this.running.add(run)
    }
    await Promise.all(this.running)
  }

  private async run(
    channels: readonly (readonly [string, readonly PendingRequest<T, R>[]])[],
  ): Promise<void> {
    const batches = channels.map(([channel, requests]) => ({
      channel,
      items: requests.map(({ item }) => item),
    }))
    try {
      const outcomes = await this.execute(batches)
      for (const [index, [, requests]] of channels.entries()) settle(requests, outcomes[index])
    } catch (error) {
      for (const [, requests] of channels) for (const { reject } of requests) reject(error)
    }
  }
}

function settle<T, R>(
  requests: readonly PendingRequest<T, R>[],
  outcome: PromiseSettledResult<readonly R[]> | undefined,
): void {
  if (outcome?.status !== 'fulfilled') {
    for (const { reject } of requests) reject(outcome?.reason)
    return
  }
  for (const [index, { resolve, reject }] of requests.entries()) {
    const result = outcome.value[index]
    if (result === undefined) reject(new Error('there is no result for it'))
    else resolve(result)
  }
}
