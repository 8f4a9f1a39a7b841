/** Records items in their order, and lets tests wait for them. */
export class EventLog<T> {
  readonly items: T[] = []
  private readonly watchers = new Set<() => void>()

  readonly add = (item: T): void => {
    this.items.push(item)
    for (const watch of this.watchers) watch()
  }

  /** Resolves with the first items once there are that many. */
  async first(count: number): Promise<readonly T[]> {
    await this.when(() => this.items.length >= count)
    return this.items.slice(0, count)
  }

  /** Resolves with the first item that matches, recorded already or later. */
  async find(isMatch: (item: T) => boolean): Promise<T> {
    await this.when(() => this.items.some(isMatch))
    const found = this.items.find(isMatch)
    if (found === undefined) throw new Error('the item is gone')
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
