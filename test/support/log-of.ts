/** Keeps what comes, in order, and lets tests wait for it. */
export class LogOf<T> {
  readonly items: T[] = []
  private readonly watchers = new Set<() => void>()

  readonly add = (item: T): void => {
    this.items.push(item)
    for (const watch of this.watchers) watch()
  }

  /** The first items, once there are so many. */
  async first(count: number): Promise<readonly T[]> {
    await this.when(() => this.items.length >= count)
    return this.items.slice(0, count)
  }

  /** The first item that fits, once it is there. */
  async find(fits: (item: T) => boolean): Promise<T> {
    await this.when(() => this.items.some(fits))
    const found = this.items.find(fits)
    if (found === undefined) throw new Error('it was there, and is gone')
    return found
  }

  private when(isDone: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const watch = () => {
        if (!isDone()) return
        this.watchers.delete(watch)
        resolve()
      }
      this.watchers.add(watch)
      watch()
    })
  }
}
