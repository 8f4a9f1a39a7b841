import type { History, Position } from '../broker/broker.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { errors } from '../protocol/errors.js'
import type { Publisher } from './publisher.js'

/** What a backend publishes. */
export interface ApiPublication {
  /** One line of JSON. */
  readonly data: Buffer
  readonly excludedClient: string | undefined
  readonly tags: Readonly<Record<string, string>> | undefined
}

export interface ApiPublishOptions {
  readonly skipHistory: boolean
  /** A second publication with a key that was used a short time ago is not made. */
  readonly idempotencyKey: string | undefined
}

export interface HistoryRequest {
  /** Of publications; 0: only the position; -1: all that may be had at once. */
  readonly limit: number
  readonly since: Position | undefined
  /** The latest first. */
  readonly isReverse: boolean
}

/**
 * What can be done to channels on behalf of backends. Every method rejects with a ProtocolError where the channel does
 * not allow it, and with a BrokerError where the relay is out.
 */
export interface ChannelOperations {
  /** Resolves with the publication's place where the channel keeps history. ProtocolError 102: no such namespace. */
  publish(
    channel: string,
    publication: ApiPublication,
    options: ApiPublishOptions,
  ): Promise<Position | undefined>
  /** ProtocolError 102: no such namespace; 108: it keeps no history; 112: another epoch than `since` has. */
  history(channel: string, query: HistoryRequest): Promise<History>
  removeHistory(channel: string): Promise<void>
  /** Clients in the channel, by id. */
  presence(channel: string): Promise<ReadonlyMap<string, ClientInfo>>
  presenceStats(channel: string): Promise<{ readonly clients: number; readonly users: number }>
}

/** The operations of a node's channels. */
export class Channels implements ChannelOperations {
  constructor(private readonly publisher: Publisher) {}

  async publish(
    channel: string,
    { data, excludedClient, tags }: ApiPublication,
    { idempotencyKey }: ApiPublishOptions,
  ): Promise<Position | undefined> {
    if (tags !== undefined) throw errors.notAvailable('publications have no tags')
    if (idempotencyKey !== undefined) throw errors.notAvailable('this channel knows no idempotency keys')
    await this.publisher.publish('api', channel, data, false, excludedClient)
    return undefined
  }

  history(): Promise<History> {
    return Promise.reject(errors.notAvailable('this channel keeps no history'))
  }

  removeHistory(): Promise<void> {
    return Promise.reject(errors.notAvailable('this channel keeps no history'))
  }

  presence(): Promise<ReadonlyMap<string, ClientInfo>> {
    return Promise.reject(errors.notAvailable('this channel keeps no presence'))
  }

  presenceStats(): Promise<{ readonly clients: number; readonly users: number }> {
    return Promise.reject(errors.notAvailable('this channel keeps no presence'))
  }
}
