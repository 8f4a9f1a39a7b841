/** Counts connections against the limit, those included whose handshake is still being decided on. */
export class Admission {
  private admitted = 0
  private isOpen = true
  private emptied: (() => void) | undefined

  constructor(private readonly maxConnections: number) {}

  /** Takes a place. What it returns undefined for is let in, and must give the place back once; otherwise why not. */
  enter(): 'draining' | 'connection_limit' | undefined {
    if (!this.isOpen) return 'draining'
    if (this.admitted >= this.maxConnections) return 'connection_limit'
    this.admitted++
    return undefined
  }

  leave(): void {
    this.admitted--
    if (this.admitted === 0) this.emptied?.()
  }

  /** Resolves when nobody is in, and nobody's handshake is being decided on. */
  whenEmpty(): Promise<void> {
    if (this.admitted === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.emptied = resolve
    })
  }

  get isClosed(): boolean {
    return !this.isOpen
  }

  /** Lets nobody in any more. */
  close(): void {
    this.isOpen = false
  }
}
