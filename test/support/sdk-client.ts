import {
  Centrifuge,
  type ConnectedContext,
  type DisconnectedContext,
  type JoinContext,
  type LeaveContext,
  type MessageContext,
  type Options,
  type PublicationContext,
  type ServerJoinContext,
  type ServerPublicationContext,
  type ServerSubscribedContext,
  type SubscribedContext,
  type Subscription,
  type SubscriptionOptions,
  type UnsubscribedContext,
} from 'centrifuge'
import WebSocket from 'ws'
import { LogOf } from './log-of.js'
import { PATIENCE } from './patience.js'

/** A subscription of the official SDK, and what happened in it. */
export class SdkSubscription {
  readonly publications = new LogOf<PublicationContext>()
  readonly subscribed = new LogOf<SubscribedContext>()
  readonly unsubscribed = new LogOf<UnsubscribedContext>()
  readonly subscribing = new LogOf<{ code: number; reason: string }>()
  readonly joins = new LogOf<JoinContext>()
  readonly leaves = new LogOf<LeaveContext>()
  readonly errors = new LogOf<{ code: number; message: string }>()

  constructor(readonly sdk: Subscription) {
    sdk.on('publication', this.publications.add)
    sdk.on('subscribed', this.subscribed.add)
    sdk.on('unsubscribed', this.unsubscribed.add)
    sdk.on('subscribing', this.subscribing.add)
    sdk.on('join', this.joins.add)
    sdk.on('leave', this.leaves.add)
    sdk.on('error', ({ error }) => this.errors.add(error))
  }

  /** Data of the first so many publications. */
  async data(count: number): Promise<unknown[]> {
    return (await this.publications.first(count)).map(({ data }) => data as unknown)
  }
}

/** A client of the official SDK, and what happened to it. */
export class SdkClient {
  readonly connected = new LogOf<ConnectedContext>()
  readonly connecting = new LogOf<{ code: number; reason: string }>()
  readonly disconnected = new LogOf<DisconnectedContext>()
  readonly subscribed = new LogOf<ServerSubscribedContext>()
  readonly publications = new LogOf<ServerPublicationContext>()
  readonly messages = new LogOf<MessageContext>()
  readonly joins = new LogOf<ServerJoinContext>()
  readonly errors = new LogOf<{ code: number; message: string }>()
  readonly sdk: Centrifuge

  constructor(wsUrl: string, options: Partial<Options> = {}) {
    this.sdk = new Centrifuge(`${wsUrl}/connection/websocket`, {
      websocket: WebSocket,
      minReconnectDelay: 10,
      maxReconnectDelay: 200,
      // However slow the machine is, no answer is given up.
      timeout: PATIENCE.timeout,
      ...options,
    })
    this.sdk.on('connected', this.connected.add)
    this.sdk.on('connecting', this.connecting.add)
    this.sdk.on('disconnected', this.disconnected.add)
    this.sdk.on('subscribed', this.subscribed.add)
    this.sdk.on('publication', this.publications.add)
    this.sdk.on('message', this.messages.add)
    this.sdk.on('join', this.joins.add)
    this.sdk.on('error', ({ error }) => this.errors.add(error))
  }

  /** Connects, and resolves once it is. */
  static async connect(wsUrl: string, options: Partial<Options> = {}): Promise<SdkClient> {
    const client = new SdkClient(wsUrl, options)
    client.sdk.connect()
    await client.connected.first(1)
    return client
  }

  /** Asks for a subscription; `subscribed` tells when it is there. */
  add(channel: string, options: Partial<SubscriptionOptions> = {}): SdkSubscription {
    const subscription = new SdkSubscription(this.sdk.newSubscription(channel, options))
    subscription.sdk.subscribe()
    return subscription
  }

  async subscribe(channel: string, options: Partial<SubscriptionOptions> = {}): Promise<SdkSubscription> {
    const subscription = this.add(channel, options)
    await subscription.subscribed.first(1)
    return subscription
  }

  close(): void {
    this.sdk.disconnect()
  }
}
