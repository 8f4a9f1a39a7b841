/** Counts connections against the limit, those included whose handshake is still being decided on. */
export class Admission {
  private admitted = 0
  private isOpen = true

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
  }

  /** Lets nobody in any more. */
  close(): void {
    this.isOpen = false
  }
}
