import type { Subscription } from 'centrifuge'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'
import { SdkLink } from '../support/sdk-link.js'
import type { LedgerEvent, Position } from './ledger/events.js'
import { Silence } from './silence.js'
import { type Payload, WireTap } from './wire-tap.js'

const MAX_RECONNECT_DELAY_MS = 500
/** Longer than a node takes to answer a command. */
const COMMAND_TIMEOUT_MS = 5_000

export interface SubscriberOptions {
  readonly name: string
  readonly token: string
  readonly channels: readonly string[]
  /** Where the next connection leads. */
  readonly wsUrl: () => string
  readonly nodeOf: (wsUrl: string) => string
  readonly record: (event: LedgerEvent) => void
}

/** A client of the official SDK in several channels. */
export class SdkSubscriber {
  readonly name: string
  /** How often it has lost its connection though it did not cut it, with the code of each. */
  readonly lost: number[] = []
  readonly silences: ReadonlyMap<string, Silence>
  private readonly tap: WireTap
  private readonly link: SdkLink
  private readonly client: SdkClient
  private readonly subscriptions: ReadonlyMap<string, Subscription>
  private isCutting = false
  private isClosed = false

  constructor({ name, token, channels, wsUrl, nodeOf, record }: SubscriberOptions) {
    this.name = name
    this.silences = new Map(channels.map((channel) => [channel, new Silence()]))
    this.tap = new WireTap(name, nodeOf, record, (what, channel) => {
      if (what === 'unsubscribed') this.subscriptions.get(channel)?.subscribe()
      else this.silences.get(channel)?.heard(performance.now())
    })
    this.link = new SdkLink(wsUrl, this.tap)
    this.client = new SdkClient('ws://unused', {
      token,
      websocket: this.link.websocket,
      maxReconnectDelay: MAX_RECONNECT_DELAY_MS,
      timeout: COMMAND_TIMEOUT_MS,
    })
    this.client.sdk.on('connecting', ({ code }) => {
      if (code !== 0 && !this.isCutting && !this.isClosed) this.lost.push(code)
      this.isCutting = false
    })
    this.client.sdk.on('disconnected', ({ code }) => {
      if (!this.isClosed) this.lost.push(code)
    })
    const options = { minResubscribeDelay: 10, maxResubscribeDelay: MAX_RECONNECT_DELAY_MS }
    this.subscriptions = new Map(
      channels.map((channel) => [channel, this.client.sdk.newSubscription(channel, options)]),
    )
  }

  connect(): void {
    for (const subscription of this.subscriptions.values()) subscription.subscribe()
    this.client.sdk.connect()
  }

  /** Whether it is subscribed to all of its channels. */
  get isSubscribed(): boolean {
    return [...this.subscriptions.values()].every(({ state }) => state === 'subscribed')
  }

  /** Whether it needs no more of a channel to have had this publication. */
  hasReached(channel: string, position: Position, id: string): boolean {
    const latest = this.tap.latest.get(channel)
    if (latest === undefined) return false
    const at = latest.position
    return latest.id === id || (at?.epoch === position.epoch && at.offset >= position.offset)
  }

  /** Cuts the connection; the SDK connects again and recovers. */
  cut(): void {
    if (this.client.sdk.state !== 'connected') return
    this.isCutting = true
    this.link.cut()
  }

  /** Unsubscribes from a channel, and subscribes again once that is answered. */
  resubscribe(channel: string): void {
    const subscription = this.subscriptions.get(channel)
    if (subscription?.state === 'subscribed' && this.client.sdk.state === 'connected')
      subscription.unsubscribe()
  }

  /** Subscribes again where the connection was lost before an unsubscription was answered. */
  ensureSubscribed(): void {
    for (const subscription of this.subscriptions.values()) {
      if (subscription.state === 'unsubscribed') subscription.subscribe()
    }
  }

  /** Stops and continues reading from the connection. */
  pause(): void {
    this.link.pause()
  }

  resume(): void {
    this.link.resume()
  }

  close(): void {
    this.isClosed = true
    this.client.close()
  }
}

/** A raw client in one channel, which connects again when its connection ends. */
export class RawSubscriber {
  private client: RawClient | undefined
  private isClosed = false

  constructor(
    private readonly options: Omit<SubscriberOptions, 'channels' | 'nodeOf'> & { readonly channel: string },
  ) {}

  /** Resolves when it is connected for the first time. */
  async connect(): Promise<void> {
    const { wsUrl, channel, token, name, record } = this.options
    while (!this.isClosed) {
      try {
        this.client = await RawClient.connect(`${wsUrl()}/ws/${channel}`, {
          token,
          handshakeTimeout: COMMAND_TIMEOUT_MS,
        })
        break
      } catch {
        await new Promise((resolve) => setTimeout(resolve, MAX_RECONNECT_DELAY_MS))
      }
    }
    const { client } = this
    if (client === undefined) return
    client.socket.on('message', (data: Buffer) => {
      const { id } = JSON.parse(data.toString()) as Payload
      record({ type: 'heard', atMs: performance.now(), subscriber: name, channel, id })
    })
    client.socket.on('close', () => {
      record({ type: 'disconnected', atMs: performance.now(), subscriber: name })
      void this.connect()
    })
    // An error is followed by the end of the connection.
    client.socket.on('error', () => undefined)
    if (this.isClosed) client.close()
  }

  /** Publishes to its channel, of which nothing is answered. Returns whether it could be sent. */
  publish(payload: Payload): boolean {
    const { client } = this
    if (client?.socket.readyState !== client?.socket.OPEN) return false
    client?.send(JSON.stringify(payload))
    return client !== undefined
  }

  /** Stops and continues reading from the connection. */
  pause(): void {
    this.client?.socket.pause()
  }

  resume(): void {
    this.client?.socket.resume()
  }

  close(): void {
    this.isClosed = true
    this.client?.close()
  }
}
