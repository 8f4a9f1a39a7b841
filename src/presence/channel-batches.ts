interface Asked<T, R> {
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
  private waiting = new Map<string, Asked<T, R>[]>()

  constructor(
    /** Resolves with the results of each batch, in its order; or rejects, which is then the answer to all. */
    private readonly doAll: (batches: readonly ChannelBatch<T>[]) => Promise<readonly (readonly R[])[]>,
  ) {}

  ask(channel: string, item: T): Promise<R> {
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
    if (this.waiting.size === 0) return
    const askedOf = [...this.waiting.values()]
    const batches = [...this.waiting].map(([channel, asked]) => ({
      channel,
      items: asked.map(({ item }) => item),
    }))
    this.waiting = new Map()
    this.doAll(batches).then(
      (results) => {
        for (const [index, asked] of askedOf.entries()) {
          for (const [at, { resolve }] of asked.entries()) resolve(results[index]?.[at] as R)
        }
      },
      (error: unknown) => {
        for (const { reject } of askedOf.flat()) reject(error)
      },
    )
  }
}
