import type { Identity } from '../auth/authenticator.js'
import type { NamespaceOptions } from '../channel/namespaces.js'
import { mayPublish } from '../channel/permissions.js'
import type { Wishes } from '../hub/hub.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { CLOSES, type Close } from '../protocol/closes.js'
import { PlainSession, type PlainSessionContext } from './plain-session.js'

const PING = Buffer.from('ping')
const PONG = Buffer.from('pong')

/** A connection to `/ws/<channel>`: every frame it sends is a publication. */
export class RawSession extends PlainSession {
  /** One line of JSON, as the token gave it. */
  private readonly connInfo: string | undefined

  constructor(
    context: PlainSessionContext,
    identity: Pick<Identity, 'user' | 'info'>,
    /** Held in the hub for this session, which releases it. */
    readonly channel: string,
    private readonly namespace: NamespaceOptions,
    private readonly wishes: Wishes,
  ) {
    super(context, identity.user)
    this.connInfo = identity.info
  }

  get protocol() {
    return 'raw' as const
  }

  override close(close: Close): void {
    this.context.hub.flush(this.channel)
    super.close(close)
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
      this.socket?.send(PONG, false)
      return
    }
    if (!mayPublish(this.namespace, { channel: this.channel, user: this.user, isSubscribed: true })) {
      this.close(CLOSES.publishingDenied)
      return
    }
    if (this.namespace.publicationDataFormat === 'json' && (isBinary || !isJson(data))) {
      this.close(CLOSES.notJson)
      return
    }
    const publication = { data, isBinary, isJson: false, excludedClient: this.client }
    // The protocol has no way to tell the sender; the publisher has counted and logged the failure.
    this.context.channels.publish('raw', this.channel, publication).catch(() => undefined)
  }

  private get info(): ClientInfo {
    const { client, user, connInfo } = this
    return { client, user, connInfo, chanInfo: undefined }
  }
}

function isJson(data: Buffer): boolean {
  try {
    JSON.parse(data.toString())
    return true
  } catch {
    return false
  }
}
