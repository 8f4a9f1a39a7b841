import type { Broker, PublishOptions } from '../broker/broker.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { ClientInfo } from '../protocol/client-info.js'
import type { StreamPosition } from '../protocol/publication.js'

export type PublicationSource = 'raw' | 'centrifuge' | 'api'

/** At most one log line in this time says that publications fail; the metric counts them all. */
const FAILURE_LOG_INTERVAL_MS = 1_000

/** What somebody publishes. */
export interface Draft {
  readonly data: Uint8Array
  readonly isBinary: boolean
  /** Whether the data is known to be one line of JSON. */
  readonly isJson: boolean
  readonly excludedClient?: string | undefined
  readonly info?: ClientInfo | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
}

/** The one way in for publications, whoever makes them: counts them, and what becomes of them. */
export class Publisher {
  private lastFailureLogMs = Number.NEGATIVE_INFINITY

  constructor(
    private readonly broker: Broker,
    private readonly metrics: Metrics,
    private readonly log: Logger,
  ) {}

  /**
   * The data is copied before this returns. Resolves with the publication's place where the channel keeps a stream.
   * Rejects with a BrokerError when the relay does not take it.
   */
  async publish(
    source: PublicationSource,
    namespace: string,
    channel: string,
    { data, isBinary, isJson, excludedClient, info, tags }: Draft,
    options?: PublishOptions,
  ): Promise<StreamPosition | undefined> {
    try {
      const publishedAtMs = Date.now()
      const position = await this.broker.publish(
        channel,
        {
          type: 'publication',
          data,
          isBinary,
          isJson,
          info,
          tags,
          position: undefined,
          excludedClient,
          publishedAtMs,
        },
        options,
      )
      this.metrics.publications(namespace, source).value++
      return position
    } catch (error) {
      if (!(error instanceof BrokerError)) {
        this.log.error({ err: error }, 'publishing failed')
        throw error
      }
      this.metrics.publicationFailures.inc({ source, reason: error.reason })
      this.logFailure(source, error)
      throw error
    }
  }

  private logFailure(source: PublicationSource, { reason, message }: BrokerError): void {
    const nowMs = performance.now()
    if (nowMs - this.lastFailureLogMs < FAILURE_LOG_INTERVAL_MS) return
    this.lastFailureLogMs = nowMs
    this.log.warn({ source, reason, error: message }, 'publications fail')
  }
}
