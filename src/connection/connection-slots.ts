/** Counts connections, and handshakes that are still being decided, against the limit of this node. */
export class ConnectionSlots {
  private reserved = 0
  private isOpen = true
  private onEmpty: (() => void) | undefined

  constructor(private readonly maxConnections: number) {}

  /** Reserves a slot, which `release` gives back. Returns the reason when there is none. */
  reserve(): 'draining' | 'connection_limit' | undefined {
    if (!this.isOpen) return 'draining'
    if (this.reserved >= this.maxConnections) return 'connection_limit'
    this.reserved++
    return undefined
  }

  release(): void {
    this.reserved--
    if (this.reserved === 0) this.onEmpty?.()
  }

  /** Resolves when no slot is reserved. */
  whenEmpty(): Promise<void> {
    if (this.reserved === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.onEmpty = resolve
    })
  }

  get isClosed(): boolean {
    return !this.isOpen
  }

  /** Refuses every further reservation. */
  close(): void {
    this.isOpen = false
  }
}
