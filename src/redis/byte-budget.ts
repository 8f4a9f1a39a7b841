/** Bytes that several owners may use together. */
export class ByteBudget {
  private usedBytes = 0

  constructor(
    readonly maxBytes: number,
    /** Called with the bytes that are used now. */
    private readonly onChange: (usedBytes: number) => void,
  ) {}

  get used(): number {
    return this.usedBytes
  }

  /** Takes bytes, unless they would be more than there are; returns whether they were taken. */
  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.maxBytes) return false
    this.add(bytes)
    return true
  }

  giveBack(bytes: number): void {
    this.add(-bytes)
  }

  private add(bytes: number): void {
    this.usedBytes += bytes
    this.onChange(this.usedBytes)
  }
}
