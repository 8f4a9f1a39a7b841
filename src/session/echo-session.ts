import { PlainSession } from './plain-session.js'

/** A connection to `/echo`: every frame comes back as it is, for probes and for measuring round trips. */
export class EchoSession extends PlainSession {
  readonly protocol = 'echo'
  readonly channel = undefined

  isIn(): boolean {
    return false
  }

  protected end(): void {
    // In no channel.
  }

  protected received(data: Buffer, isBinary: boolean): void {
    this.socket?.send(data, isBinary)
  }
}
