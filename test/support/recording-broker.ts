import { MemoryBroker } from '../../src/broker/memory-broker.js'
import type { ChannelEvent } from '../../src/protocol/publication.js'

/** Records published events instead of relaying them. */
export class RecordingBroker extends MemoryBroker {
  readonly events: ChannelEvent[] = []
  /** Rejects publications while it is set. */
  failure: Error | undefined

  override publish(_channel: string, event: ChannelEvent): Promise<undefined> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    this.events.push(event)
    return Promise.resolve(undefined)
  }
}
