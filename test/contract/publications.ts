import { createHash } from 'node:crypto'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ClientInfo } from '../../src/protocol/client-info.js'
import type { ChannelEvent, Publication } from '../../src/protocol/publication.js'

/** A client without connection and channel infos. */
export function clientInfo(client: string, user: string): ClientInfo {
  return { client, user, connInfo: undefined, chanInfo: undefined }
}

export function publication(data: Uint8Array | string, part: Partial<Publication> = {}): Publication {
  return {
    type: 'publication',
    data: Buffer.from(data),
    isBinary: false,
    isJson: false,
    info: undefined,
    tags: undefined,
    position: undefined,
    excludedClient: undefined,
    publishedAtMs: 1_800_000_000_000,
    isUnknown: false,
    ...part,
  }
}

/** Replaces payloads by digests, since comparing large ones byte by byte takes seconds. */
export function digests(events: readonly ChannelEvent[]): unknown[] {
  return events.map((event) =>
    event.type === 'publication'
      ? { ...event, data: `${event.data.length} ${createHash('sha256').update(event.data).digest('hex')}` }
      : event,
  )
}

/** Resolves with the reason of a BrokerError. Rejects with other errors, and when the operation succeeds. */
export async function refusal(operation: Promise<unknown>): Promise<{ reason: string }> {
  try {
    await operation
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return { reason: error.reason }
  }
  throw new Error('it was not refused')
}

/** Tries again while it is refused with a BrokerError, since the duration of a reconnection varies. */
export async function retryWhileRefused<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      // A refusal may come at once; the reconnection needs the event loop.
      await new Promise(setImmediate)
    }
  }
}
