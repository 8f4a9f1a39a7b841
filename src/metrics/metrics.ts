import {
  type Aggregator,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from 'prom-client'
import { MAX_TIMER_MS } from '../max-timer.js'
import { COMMAND_NAMES } from '../protocol/client-requests.js'
import { ABNORMAL_CLOSE, CLOSES, DISCONNECTS } from '../protocol/closes.js'
import { DeferredMetrics } from './deferred-metrics.js'
import { EventLoopLag } from './event-loop-lag.js'
import type { LabelledValue } from './labelled-value.js'

const PREFIX = 'fanfare_'
/** Close codes that always have a label of their own: those that nodes send, and those of ordinary closes. */
const OWN_CLOSE_CODES = [
  1000,
  1005,
  ABNORMAL_CLOSE,
  ...[...Object.values(CLOSES), ...Object.values(DISCONNECTS)].map(({ code }) => code),
]
/** Further close codes that get a label. Clients choose codes, and must not be able to fill the registry. */
const MAX_CLIENT_CLOSE_CODES = 100
/** Gauges of prom-client that are named like counters, against which `promtool check metrics` warns. */
const MISNAMED_DEFAULTS = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
]
const PROTOCOL = { name: 'protocol', values: ['raw', 'echo', 'centrifuge'] } as const
/** Connections of the echo endpoint subscribe to no channel. */
const DELIVERY_PROTOCOL = { name: 'protocol', values: ['raw', 'centrifuge'] } as const
const LATENCY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

export interface Exposition {
  readonly contentType: string
  readonly body: string
}

export type MetricsSnapshot = MetricObjectWithValues<MetricValue<string>>[]

/** Numbers that are computed at every scrape. */
export interface ScrapeTimeValues {
  backpressureBytes(): number
  channels(): number
  nodes(): number
  pendingPresence(): number
}

/**
 * Every metric that a node exports. What happens per message, connection or subscription is counted in a
 * `LabelledValue` or `LabelledHistogram`, plain numbers that are read at scrape time. Labels are bounded: never a
 * channel, a user or a client.
 */
export class Metrics {
  private readonly registry = new Registry()
  private readonly deferred = new DeferredMetrics(this.registry, PREFIX)
  private readonly publicationValues = this.deferred.values(
    Counter,
    'publications_total',
    'Publications accepted.',
    ['namespace', 'source'],
  )
  private readonly subscriptionValues = this.deferred.values(
    Gauge,
    'subscriptions',
    'Subscriptions of connections to channels.',
    ['namespace'],
  )
  private readonly closeCodeLabels = new Set<string>(OWN_CLOSE_CODES.map(String))
  private readonly maxCloseCodeLabels = this.closeCodeLabels.size + MAX_CLIENT_CLOSE_CODES

  readonly connections = this.deferred.valuePerLabel(Gauge, 'connections', 'Open connections.', PROTOCOL)
  readonly connectionsOpened = this.deferred.valuePerLabel(
    Counter,
    'connections_opened_total',
    'Connections opened.',
    PROTOCOL,
  )
  private readonly connectionsClosed = this.counter(
    'connections_closed_total',
    'Connections closed, by close code.',
    ['protocol', 'code'],
  )
  readonly connectionRejections = this.counter(
    'connection_rejections_total',
    'Handshakes refused before a connection existed.',
    ['reason'],
  )
  readonly authFailures = this.counter('auth_failures_total', 'Clients that were not recognised.', ['reason'])
  readonly heartbeatTimeouts = this.counter('heartbeat_timeouts_total', 'Connections closed for silence.', [
    'protocol',
  ])
  readonly slowConsumerCloses = this.counter(
    'slow_consumer_closes_total',
    'Connections closed because they left too much unread.',
    ['protocol'],
  )
  readonly oversizedMessages = this.counter('oversized_messages_total', 'Messages above the limit.', [
    'protocol',
  ])
  readonly messagesReceived = this.deferred.valuePerLabel(
    Counter,
    'messages_received_total',
    'Messages that clients sent.',
    PROTOCOL,
  )
  readonly deliveries = this.deferred.valuePerLabel(
    Counter,
    'deliveries_total',
    'Publications delivered to connections.',
    DELIVERY_PROTOCOL,
  )
  readonly deliveredBytes = this.deferred.valuePerLabel(
    Counter,
    'delivered_bytes_total',
    'Payload delivered to connections, in bytes.',
    DELIVERY_PROTOCOL,
  )
  readonly delayedPublications = this.deferred.value(
    Counter,
    'delayed_publications_total',
    'Publications that waited to be delivered together with others of their channel.',
  )
  readonly publicationFailures = this.counter(
    'publication_failures_total',
    'Publications that the relay did not accept; their publishers got an error where the protocol has one.',
    ['source', 'reason'],
  )
  readonly deliveryLag = this.deferred.histogram(
    'delivery_lag_seconds',
    'From publish to socket write, the first of each batch.',
    LATENCY_SECONDS,
  )
  readonly fanoutDuration = this.deferred.histogram(
    'fanout_duration_seconds',
    'Delivering a batch to its subscribers.',
    LATENCY_SECONDS,
  )

  readonly relayBatchSize = this.deferred.histogram(
    'relay_batch_size',
    'Publications, joins and leaves that left in one relay message.',
    BATCH_SIZES,
  )
  readonly relayGaps = this.counter(
    'relay_gaps_total',
    'Gaps seen in what the relay delivered of a stream.',
    [],
  )
  readonly relayRepairedPublications = this.counter(
    'relay_repaired_publications_total',
    'Publications that the relay did not deliver and that were read from their stream.',
    [],
  )
  readonly relayUnrepairedGaps = this.counter(
    'relay_unrepaired_gaps_total',
    'Gaps that the stream could not close any more; subscribers that follow it were notified.',
    [],
  )
  readonly relayMalformed = this.counter('relay_malformed_total', 'Relay messages ignored as malformed.', [])
  readonly relayUnknown = this.deferred.valuePerLabel(
    Counter,
    'relay_unknown_total',
    'What nodes of a later version sent and this one does not know.',
    { name: 'what', values: ['entry', 'message', 'question'] },
  )
  readonly relayQueueBytes = this.deferred.value(
    Gauge,
    'relay_queue_bytes',
    'Entries waiting for Redis, in bytes.',
  )
  readonly relayProbe = this.histogram(
    'relay_probe_seconds',
    'Round trip of the node’s probe through the relay.',
    LATENCY_SECONDS,
  )
  private readonly authKeyFetches = this.counter(
    'auth_key_fetches_total',
    'Fetches of the keys that an issuer of tokens publishes.',
    ['result'],
  )
  private readonly authKeys = this.gauge('auth_keys', 'Keys of the last fetch.', [], 'max')
  readonly redisUp = this.gauge(
    'redis_up',
    'Whether the connection to Redis is up.',
    ['shard', 'role'],
    'min',
  )
  readonly redisCommandFailures = this.counter(
    'redis_command_failures_total',
    'Commands that Redis refused or did not answer, by what they were for.',
    ['command', 'reason'],
  )
  readonly redisReconnects = this.counter(
    'redis_reconnects_total',
    'Connections to Redis that were lost and made again.',
    ['shard', 'role'],
  )

  readonly commandDuration = this.deferred.histogramPerLabel(
    'command_duration_seconds',
    'From reading a command of the Centrifuge protocol to its answer.',
    LATENCY_SECONDS,
    { name: 'command', values: COMMAND_NAMES },
  )
  readonly commandErrors = this.counter(
    'command_errors_total',
    'Commands of the Centrifuge protocol that were answered with an error.',
    ['command', 'code'],
  )
  readonly recoveries = this.counter('recoveries_total', 'Subscribers that asked for what they had missed.', [
    'result',
  ])

  readonly apiRequests = this.counter('api_requests_total', 'Requests of the server API.', ['method', 'code'])
  readonly apiDuration = this.histogram(
    'api_duration_seconds',
    'Serving a request of the server API.',
    LATENCY_SECONDS,
    ['method'],
  )
  readonly draining = this.gauge('draining', '1 while the node drains.', [], 'max')

  readonly eventLoopLag: EventLoopLag

  constructor(version: string) {
    collectDefaultMetrics({
      register: this.registry,
      // The interval of prom-client's own monitor of the event loop, which can't be turned off and which `EventLoopLag`
      // replaces: the longest that Node accepts.
      eventLoopMonitoringPrecision: MAX_TIMER_MS,
    })
    for (const name of MISNAMED_DEFAULTS) this.registry.removeSingleMetric(name)
    this.eventLoopLag = new EventLoopLag(this.registry)
    this.gauge('build_info', 'What runs, as labels.', ['version', 'node_version'], 'first').set(
      { version, node_version: process.version },
      1,
    )
    this.draining.set(0)
  }

  /** Registers the gauges that are computed at scrape time. To be called once. */
  registerScrapeTimeGauges(values: ScrapeTimeValues): void {
    this.computed('backpressure_bytes', 'Bytes queued for connections.', () => values.backpressureBytes())
    this.computed('channels', 'Channels with a subscriber on this node; of workers the sum.', () =>
      values.channels(),
    )
    this.computed(
      'presence_pending',
      'Joins and leaves being written to the cluster, one for each client and channel.',
      () => values.pendingPresence(),
    )
    this.computed('nodes', 'Live nodes of the cluster that this node knows of.', () => values.nodes(), 'max')
  }

  /** Counts a close. Codes that clients choose share the label `other` beyond the first `MAX_CLIENT_CLOSE_CODES`. */
  countClose(protocol: string, code: number): void {
    const label = String(code)
    const isKnown = this.closeCodeLabels.has(label) || this.closeCodeLabels.size < this.maxCloseCodeLabels
    if (isKnown) this.closeCodeLabels.add(label)
    this.connectionsClosed.inc({ protocol, code: isKnown ? label : 'other' })
  }

  /** Counts a fetch of an issuer's keys. `keys` is how many it returned; undefined: it failed. */
  countKeyFetch(keys: number | undefined): void {
    this.authKeyFetches.inc({ result: keys === undefined ? 'failed' : 'ok' })
    if (keys !== undefined) this.authKeys.set(keys)
  }

  /**
   * Counts accepted publications, by their namespace and by the source they came from (`raw`, `centrifuge` or `api`).
   */
  publicationCounter(namespace: string, source: string): LabelledValue {
    return this.publicationValues.getOrCreate(`${source} ${namespace}`, { namespace, source })
  }

  /** Counts the present subscriptions to the channels of a namespace. */
  subscriptionGauge(namespace: string): LabelledValue {
    return this.subscriptionValues.getOrCreate(namespace, { namespace })
  }

  /** All metrics in the text format of Prometheus. */
  async expose(): Promise<Exposition> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() }
  }

  /** All metrics as plain data, which a worker sends to `JointMetrics` in the supervisor's process. */
  snapshot(): Promise<MetricsSnapshot> {
    return this.registry.getMetricsAsJSON()
  }

  private counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.registry] })
  }

  private gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    aggregator: Aggregator = 'sum',
  ): Gauge<L> {
    return new Gauge({ name: `${PREFIX}${name}`, help, labelNames, aggregator, registers: [this.registry] })
  }

  private histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly L[] = [],
  ): Histogram<L> {
    return new Histogram({ name: `${PREFIX}${name}`, help, buckets, labelNames, registers: [this.registry] })
  }

  private computed(name: string, help: string, value: () => number, aggregator: Aggregator = 'sum'): void {
    new Gauge({
      name: `${PREFIX}${name}`,
      help,
      aggregator,
      registers: [this.registry],
      collect() {
        this.set(value())
      },
    })
  }
}
