import type { Wishes } from '../hub/hub.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { Session, type SessionContext } from './session.js'

const PING = Buffer.from('ping')
const ANNOUNCEMENT = { presence: true, joinLeave: true }

/** A connection to `/ws/<channel>`: every frame it sends is a publication. */
export class RawSession extends Session {
  readonly protocol = 'raw'

  constructor(
    context: SessionContext,
    user: string,
    /** Held in the hub for this session, which releases it. */
    readonly channel: string,
    private readonly wishes: Wishes,
  ) {
    super(context, user)
  }

  private get info(): ClientInfo {
    return { client: this.client, user: this.user, connInfo: undefined, chanInfo: undefined }
  }

  isIn(channel: string): boolean {
    return channel === this.channel
  }

  protected joined(): void {
    this.context.hub.join(this.channel, this, this.wishes)
    this.context.presence.joined(this.channel, this.info, ANNOUNCEMENT)
  }

  protected left(): void {
    this.context.hub.leave(this.channel, this.wishes)
    this.context.presence.left(this.channel, this.info, ANNOUNCEMENT)
  }

  protected received(data: Buffer, isBinary: boolean): void {
    if (!isBinary && data.equals(PING)) {
      this.socket?.send('pong', false)
      return
    }
    // The protocol has no way to tell the sender; the publisher has counted and logged the failure.
    this.context.publisher.publish('raw', this.channel, data, isBinary, this.client).catch(() => undefined)
  }
}
