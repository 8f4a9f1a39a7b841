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
import { EventLog } from './event-log.js'
import { POLL_OPTIONS } from './poll-options.js'

/** A subscription of the official SDK, and a log of each of its events. */
export class SdkSubscription {
  readonly publications = new EventLog<PublicationContext>()
  readonly subscribed = new EventLog<SubscribedContext>()
  readonly unsubscribed = new EventLog<UnsubscribedContext>()
  readonly subscribing = new EventLog<{ code: number; reason: string }>()
  readonly joins = new EventLog<JoinContext>()
  readonly leaves = new EventLog<LeaveContext>()
  readonly errors = new EventLog<{ code: number; message: string }>()

  constructor(readonly sdk: Subscription) {
    sdk.on('publication', this.publications.add)
    sdk.on('subscribed', this.subscribed.add)
    sdk.on('unsubscribed', this.unsubscribed.add)
    sdk.on('subscribing', this.subscribing.add)
    sdk.on('join', this.joins.add)
    sdk.on('leave', this.leaves.add)
    sdk.on('error', ({ error }) => this.errors.add(error))
  }

  /** Resolves with the data of the first `count` publications. */
  async data(count: number): Promise<unknown[]> {
    return (await this.publications.first(count)).map(({ data }) => data as unknown)
  }
}

/** A client of the official SDK, and a log of each of its events. */
export class SdkClient {
  readonly connected = new EventLog<ConnectedContext>()
  readonly connecting = new EventLog<{ code: number; reason: string }>()
  readonly disconnected = new EventLog<DisconnectedContext>()
  readonly subscribed = new EventLog<ServerSubscribedContext>()
  readonly publications = new EventLog<ServerPublicationContext>()
  readonly messages = new EventLog<MessageContext>()
  readonly joins = new EventLog<ServerJoinContext>()
  readonly errors = new EventLog<{ code: number; message: string }>()
  readonly sdk: Centrifuge

  constructor(wsUrl: string, options: Partial<Options> = {}) {
    this.sdk = new Centrifuge(`${wsUrl}/connection/websocket`, {
      websocket: WebSocket,
      minReconnectDelay: 10,
      maxReconnectDelay: 200,
      // No command times out, however slow the machine is.
      timeout: POLL_OPTIONS.timeout,
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

  /** Resolves once the client is connected. */
  static async connect(wsUrl: string, options: Partial<Options> = {}): Promise<SdkClient> {
    const client = new SdkClient(wsUrl, options)
    client.sdk.connect()
    await client.connected.first(1)
    return client
  }

  /** Starts a subscription without waiting for its answer, which `subscribed` records. */
  add(channel: string, options: Partial<SubscriptionOptions> = {}): SdkSubscription {
    const subscription = new SdkSubscription(this.sdk.newSubscription(channel, options))
    subscription.sdk.subscribe()
    return subscription
  }

  /** Resolves once the client is subscribed. */
  async subscribe(channel: string, options: Partial<SubscriptionOptions> = {}): Promise<SdkSubscription> {
    const subscription = this.add(channel, options)
    await subscription.subscribed.first(1)
    return subscription
  }

  close(): void {
    this.sdk.disconnect()
  }
}
