import type { HelperReply } from '../clients/helper-process.js'

/** How publications go through Redis: as nodes relay them, or by one PUBLISH of ioredis for each. */
export const TRANSPORTS = ['fanfare', 'ioredis'] as const
export type Transport = (typeof TRANSPORTS)[number]

/** What the benchmark requests of the process of one node. */
export type RelayRequest =
  | {
      /** Connects to Redis, and subscribes to all channels. */
      kind: 'open'
      transport: Transport
      redisUrl: string
      /** Number of this node, from 0. */
      node: number
      channels: string[]
    }
  | {
      /** Publishes on a schedule to all channels in turn. Replied to when Redis has taken everything. */
      kind: 'publish'
      /** Sequence number of the first publication. */
      first: number
      count: number
      ratePerSecond: number
      /** When the first one is due, in monotonic ms. */
      startMs: number
    }
  | {
      /** Replied to when this many publications have arrived since the last report, at the latest at the deadline. */
      kind: 'report'
      count: number
      deadlineMs: number
    }

export interface RelayReply extends HelperReply {
  published?: PublishedReport
  received?: ReceivedReport
}

export interface PublishedReport {
  /** When the last publication was handed to the relay, in monotonic ms. */
  lastMs: number
  /** Publications that Redis did not take. */
  failures: number
  /** Messages of Redis that these publications left in. */
  messages: number
  /** CPU time of this process, user and system, from the first publication until Redis had taken the last one. */
  cpuUs: number
}

export interface ReceivedReport {
  /** Publications that came once and in the order of their publisher and channel. */
  verified: number
  /** Publications that came again, late or not where they were expected. */
  wrong: number
}
