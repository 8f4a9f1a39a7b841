import type { ClientInfo } from './client-info.js'

/** A position in the stream of a channel's publications. */
export interface StreamPosition {
  /** Names the stream. Offsets of different epochs cannot be compared. */
  readonly epoch: string
  /** Offset of the latest publication at or before the position; 0 where there was none. */
  readonly offset: number
}

/** A message published to a channel, byte for byte as its publisher sent it. */
export interface Publication {
  readonly type: 'publication'
  readonly data: Uint8Array
  /** Whether raw clients receive it in a binary frame. */
  readonly isBinary: boolean
  /** Whether the data is known to be one line of JSON. */
  readonly isJson: boolean
  /** The publishing client, where subscribers receive it with the publication. */
  readonly info: ClientInfo | undefined
  readonly tags: Readonly<Record<string, string>> | undefined
  /** Its position in the channel's stream, once the broker has assigned one. */
  readonly position: StreamPosition | undefined
  /** Id of the client that must not receive it, on whichever node it is. */
  readonly excludedClient: string | undefined
  /** Unix time in milliseconds, by the clock of the publishing node. */
  readonly publishedAtMs: number
  /**
   * Whether this node cannot read it, since only a later version knows its kind: then it has a position at most. No client
   * receives it, and that position counts as delivered.
   */
  readonly isUnknown: boolean
}

/** A client joined or left a channel. */
export interface PresenceEvent {
  readonly type: 'join' | 'leave'
  readonly info: ClientInfo
  /** Number of clients in the channel after the event; undefined where the channel keeps no presence. */
  readonly online: number | undefined
}

/** What a broker carries in a channel. */
export type ChannelEvent = Publication | PresenceEvent
