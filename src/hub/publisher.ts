import { type Broker, BrokerError } from '../broker/broker.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'

export type PublicationSource = 'raw' | 'api'

/** At most one log line in this time says that publications fail; the metric counts them all. */
const FAILURE_LOG_INTERVAL_MS = 1_000

/** The one way in for publications, whoever makes them: counts them, and what becomes of them. */
export class Publisher {
  private lastFailureLogMs = Number.NEGATIVE_INFINITY

  constructor(
    private readonly broker: Broker,
    private readonly metrics: Metrics,
    private readonly log: Logger,
  ) {}

  /** The data is copied before this returns. Rejects with a BrokerError when the relay does not take it. */
  async publish(
    source: PublicationSource,
    channel: string,
    data: Uint8Array,
    isBinary: boolean,
    excludedClient: string | undefined,
  ): Promise<void> {
    try {
      const publishedAtMs = Date.now()
      await this.broker.publish(channel, {
        type: 'publication',
        data,
        isBinary,
        isJson: false,
        info: undefined,
        tags: undefined,
        position: undefined,
        excludedClient,
        publishedAtMs,
      })
      this.metrics.publications[source].value++
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
