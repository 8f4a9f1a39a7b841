import type { ClientCommand } from '../protocol/client-requests.js'

/** Commands of one client that may wait: SDKs send a resubscription of every channel at once at most. */
export const MAX_QUEUED_COMMANDS = 2_048

/** Commands of one client that wait for earlier ones, in order. */
export class CommandQueue {
  private readonly waiting: { readonly command: ClientCommand; readonly bytes: number }[] = []
  private bytes = 0

  constructor(
    /** Bytes of frames that all of them may come from: once parsed, JSON takes many times that. */
    private readonly maxBytes: number,
  ) {}

  get first(): ClientCommand | undefined {
    return this.waiting[0]?.command
  }

  /** Returns false where there is no room for the command. */
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
