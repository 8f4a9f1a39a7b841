/** The code with which a node ends subscriptions whose publications it could not repair. */
const INSUFFICIENT_STATE = 2500

/** Compares the gaps that nodes count with those that their subscribers were told. */
export class GapCount {
  private readonly counted = new Map<string, number>()
  /** By node and channel: how often each subscriber was told. */
  private readonly toldBy = new Map<string, Map<string, Map<string, number>>>()
  told = 0

  tell(node: string, channel: string, subscriber: string, code: number): void {
    if (code !== INSUFFICIENT_STATE) return
    this.told++
    const channels = this.toldBy.get(node) ?? new Map<string, Map<string, number>>()
    this.toldBy.set(node, channels)
    const subscribers = channels.get(channel) ?? new Map<string, number>()
    channels.set(channel, subscribers)
    subscribers.set(subscriber, (subscribers.get(subscriber) ?? 0) + 1)
  }

  count(node: string, unrepairedGaps: number): void {
    this.counted.set(node, unrepairedGaps)
  }

  /**
   * Says what does not fit, a line a node. A node that counts more than was told may have had gaps in channels to which
   * nobody was subscribed who could be told; one that counts gaps of which nobody was told has hidden them.
   */
  *differences(): Iterable<string> {
    for (const [node, counted] of this.counted) {
      const channels = [...(this.toldBy.get(node)?.values() ?? [])]
      const told = channels.reduce((sum, subscribers) => sum + Math.max(...subscribers.values()), 0)
      if (told > counted) yield `${node} counts ${counted} gaps, and its subscribers were told of ${told}`
      if (counted > 0 && told === 0) yield `${node} counts ${counted} gaps, and told none of its subscribers`
    }
  }
}
