import { createHash } from 'node:crypto'
import { BrokerError } from '../../src/protocol/broker-error.js'
import type { ClientInfo } from '../../src/protocol/client-info.js'
import type { ChannelEvent, Publication } from '../../src/protocol/publication.js'

/** A client without further infos. */
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
    ...part,
  }
}

/** Events with a digest for their payload: comparing large ones byte by byte takes seconds. */
export function digests(events: readonly ChannelEvent[]): unknown[] {
  return events.map((event) =>
    event.type === 'publication'
      ? { ...event, data: `${event.data.length} ${createHash('sha256').update(event.data).digest('hex')}` }
      : event,
  )
}

/** How somebody was refused. */
export async function refusal(asked: Promise<unknown>): Promise<{ reason: string }> {
  try {
    await asked
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return { reason: error.reason }
  }
  throw new Error('it was not refused')
}

/** Tries until it is not refused: how long a reconnection takes is up to chance. */
export async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      // A refusal may come at once; what is waited for needs the loop.
      await new Promise(setImmediate)
    }
  }
}
