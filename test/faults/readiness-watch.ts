import type { FaultNode } from './fault-node.js'

const INTERVAL_MS = 250
const TIMEOUT_MS = 1_000

/** Collects what `/ready` of the nodes says while a fault lasts. */
export class ReadinessWatch {
  /** `200 ok`, or `200 degraded redis_unreachable relay_silent`, in the order in which they were seen. */
  readonly seen = new Set<string>()
  private readonly timer: NodeJS.Timeout

  constructor(private readonly nodes: readonly FaultNode[]) {
    this.timer = setInterval(() => {
      for (const node of this.nodes) if (node.isUp) void this.look(node)
    }, INTERVAL_MS)
  }

  /** Whether a node has named a reason. */
  hasSeen(reason: string): boolean {
    return [...this.seen].some((one) => one.split(' ').includes(reason))
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private async look(node: FaultNode): Promise<void> {
    try {
      const response = await fetch(`${node.internalUrl}/ready`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
      const { status, reasons = [] } = (await response.json()) as { status: string; reasons?: string[] }
      this.seen.add([response.status, status, ...reasons].join(' '))
    } catch {
      // A node that is frozen, or has just been killed, says nothing.
    }
  }
}
