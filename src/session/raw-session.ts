import type { NamespaceOptions } from '../channel/namespaces.js'
import { mayPublish } from '../channel/permissions.js'
import type { Wishes } from '../hub/hub.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { CLOSES } from '../protocol/closes.js'
import { PlainSession, type PlainSessionContext } from './plain-session.js'

const PING = Buffer.from('ping')

/** A connection to `/ws/<channel>`: every frame it sends is a publication. */
export class RawSession extends PlainSession {
  constructor(
    context: PlainSessionContext,
    user: string,
    /** Held in the hub for this session, which releases it. */
    readonly channel: string,
    private readonly namespace: NamespaceOptions,
    private readonly wishes: Wishes,
  ) {
    super(context, user)
  }

  get protocol() {
    return 'raw' as const
  }

  isIn(channel: string): boolean {
    return channel === this.channel
  }

  protected override begin(): number {
    this.context.hub.join(this.channel, this, this.wishes)
    this.context.presence.joined(this.channel, this.info, this.namespace)
    return super.begin()
  }

  protected end(): void {
    this.context.hub.leave(this.channel, this, this.wishes)
    this.context.presence.left(this.channel, this.info, this.namespace)
  }

  protected received(data: Buffer, isBinary: boolean): void {
    if (!isBinary && data.equals(PING)) {
      this.socket?.send('pong', false)
      return
    }
    if (!mayPublish(this.namespace, { user: this.user, isSubscribed: true })) {
      this.close(CLOSES.publishingDenied)
      return
    }
    const publication = { data, isBinary, isJson: false, excludedClient: this.client }
    // The protocol has no way to tell the sender; the publisher has counted and logged the failure.
    this.context.channels.publish('raw', this.channel, publication).catch(() => undefined)
  }

  private get info(): ClientInfo {
    return { client: this.client, user: this.user, connInfo: undefined, chanInfo: undefined }
  }
}
