import type { ClientCommand } from '../protocol/client-requests.js'

/** Commands of one client that may wait; SDKs send at most a resubscription of every channel at once. */
export const MAX_QUEUED_COMMANDS = 2_048

/** Commands of one client that wait for others, in order. */
export class CommandQueue {
  private readonly waiting: { readonly command: ClientCommand; readonly bytes: number }[] = []
  private bytes = 0

  constructor(
    /** What they may have taken in frames, all together: read, JSON takes many times that. */
    private readonly maxBytes: number,
  ) {}

  get first(): ClientCommand | undefined {
    return this.waiting[0]?.command
  }

  /** Whether there was room for it. */
  add(command: ClientCommand, bytes: number): boolean {
    if (this.waiting.length >= MAX_QUEUED_COMMANDS || this.bytes + bytes > this.maxBytes) return false
    this.waiting.push({ command, bytes })
    this.bytes += bytes
    return true
  }

  removeFirst(): void {
    this.bytes -= this.waiting.shift()?.bytes ?? 0
  }
}
