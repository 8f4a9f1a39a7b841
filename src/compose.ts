import { randomUUID } from 'node:crypto'
import { JwtVerifier, MAX_TOKEN_BYTES } from './auth/jwt-verifier.js'
import { OriginPolicy } from './auth/origins.js'
import { RemoteKeys } from './auth/remote-keys.js'
import { TokenAuthenticator } from './auth/token-authenticator.js'
import type { Broker } from './broker/broker.js'
import { MemoryBroker } from './broker/memory-broker.js'
import { RedisBroker } from './broker/redis-broker.js'
import {
  DEFAULT_NAMESPACE_OPTIONS,
  keepsStream,
  type NamespaceOptions,
  Namespaces,
} from './channel/namespaces.js'
import { MAX_INTERNAL_SOCKETS, mostSockets } from './config/descriptor-limit.js'
import type { Config } from './config/settings.js'
import { openApiRoute } from './http/openapi.js'
import { type OperationsSource, operationsRoutes } from './http/operations.js'
import { ServerApi } from './http/server-api.js'
import { Admission } from './hub/admission.js'
import { Channels } from './hub/channels.js'
import { Hub } from './hub/hub.js'
import type { ChannelRules } from './hub/local-channel.js'
import { PresenceAnnouncer } from './hub/presence-announcer.js'
import { Publisher } from './hub/publisher.js'
import { TimerWheel } from './hub/timer-wheel.js'
import type { Logger } from './log.js'
import { Metrics } from './metrics/metrics.js'
import { MemoryPeers } from './node/memory-peers.js'
import { Node } from './node/node.js'
import type { Peers } from './node/peers.js'
import { type DeadNodes, PresenceKeeper } from './node/presence-keeper.js'
import { RedisPeers } from './node/redis-peers.js'
import { MemoryPresenceStore } from './presence/memory-presence-store.js'
import type { PresenceChange, PresenceStore, PresenceUpkeep } from './presence/presence-store.js'
import { RedisPresenceStore } from './presence/redis-presence-store.js'
import { Keys } from './redis/keys.js'
import { RedisLink } from './redis/redis-link.js'
import { Handshakes } from './session/handshake.js'
import type { Hooks } from './session/hooks.js'
import type { HttpRoute, Transport } from './transport/transport.js'
import { UwsTransport } from './transport/uws/uws-transport.js'
import { packageVersion } from './version.js'

/**
 * How far above the limit a message is still read, so that its sender can be told: what is beyond is cut by the
 * transport before it is buffered.
 */
const OVERSIZE_MARGIN_BYTES = 64 * 1024
/** A `subscribe` command: its token, and all else. SDKs that come back send one for each of their channels in one frame. */
const MAX_SUBSCRIBE_BYTES = MAX_TOKEN_BYTES + 1024

/**
 * Joins and leaves of a client that may be under way, for each channel that it may be in: so many that none waits that
 * leaves all its channels and comes back to them at once.
 */
const MOVES_PER_CHANNEL = 2

interface Relay {
  readonly broker: Broker
  readonly peers: Peers
  readonly presenceStore: PresenceStore
  /** Of shared presence. */
  readonly shared: { readonly upkeep: PresenceUpkeep; readonly nodes: DeadNodes } | undefined
  readonly close: () => void
}

export interface ComposeOptions {
  readonly config: Config
  readonly log: Logger
  /** Whether other processes listen on the public port too. */
  readonly isPortShared: boolean
  /** Where an embedding application takes part. */
  readonly hooks?: Hooks
  /** Called once, with the public port, when the node hears the cluster for the first time. */
  readonly ready: (port: number) => void
}

/** Wires a node from its configuration: the one place that picks implementations. Throws one line where the system doesn't fit. */
export function composeNode({ config, log, isPortShared, hooks = {}, ready }: ComposeOptions): {
  node: Node
  channels: Channels
  metrics: Metrics
} {
  const id = randomUUID()
  const version = packageVersion()
  const metrics = new Metrics(version)
  const relay = composeRelay(config, id, log, metrics)
  const { broker, peers, shared, close: closeRelay } = relay

  const namespaces = new Namespaces(config.namespaces)
  const hub = new Hub(broker, (...frame) => publicTransport.publish(...frame), metrics, {
    rulesOf: (channel) => rulesOf(namespaces.of(channel)),
    busyDeliveryDelayMs: config.busyDeliveryDelay,
    failed: (error) => log.error({ err: error }, 'repairing a gap failed'),
  })
  const admission = new Admission(config.maxConnections)
  const publisher = new Publisher(broker, metrics, log)
  const maxMovesPerClient = MOVES_PER_CHANNEL * config.maxChannelsPerConnection
  const presence = new PresenceAnnouncer(relay.presenceStore, broker, log, maxMovesPerClient)
  const report = async (change: PresenceChange): Promise<void> => {
    if (namespaces.of(change.channel)?.joinLeave === true) await presence.report(change)
  }
  const presenceKeeper = shared && new PresenceKeeper(shared.upkeep, shared.nodes, report, log)
  const { maxHistoryPublications, maxMessageBytes } = config
  const maxRawFrameBytes = maxMessageBytes + OVERSIZE_MARGIN_BYTES
  const reconnectBytes = config.maxChannelsPerConnection * MAX_SUBSCRIBE_BYTES
  const maxClientFrameBytes = Math.max(maxMessageBytes, reconnectBytes) + OVERSIZE_MARGIN_BYTES
  const channels = new Channels(namespaces, publisher, broker, relay.presenceStore, maxHistoryPublications)
  const wheel = new TimerWheel(undefined, wheelTickMs(config), (lateMs) =>
    metrics.eventLoopLag.observe(lateMs),
  )
  const remoteKeys =
    config.authJwksUrl === undefined
      ? undefined
      : new RemoteKeys(config.authJwksUrl, log, (keys) => metrics.keysFetched(keys))
  const authenticator = new TokenAuthenticator({
    staticTokens: config.authTokens ?? [],
    jwts: new JwtVerifier({
      hmacSecret: config.authHmacSecret,
      publicKeys: config.authPublicKey,
      remoteKeys,
      audience: config.authAudience,
      issuer: config.authIssuer,
    }),
    allowAnonymous: config.authAnonymous,
  })
  const common = { hub, admission, channels, presence, wheel, metrics, log }
  const handshakes = new Handshakes({
    plain: {
      ...common,
      maxMessageBytes,
      heartbeat: { checkIntervalMs: config.rawCheckInterval, timeoutMs: config.rawTimeout },
    },
    centrifuge: {
      ...common,
      broker,
      authenticator,
      hooks,
      node: { id, version },
      pingIntervalMs: config.pingInterval,
      pongTimeoutMs: config.pongTimeout,
      staleTimeoutMs: config.staleTimeout,
      maxChannels: config.maxChannelsPerConnection,
      maxCommandBytes: config.maxCommandBytes,
      maxQueuedBytes: maxClientFrameBytes,
      maxHistoryPublications,
      maxAnswerBytes: config.queueBytes / 2,
    },
    authenticator,
    origins: new OriginPolicy(config.allowedOrigins ?? []),
    authHeader: config.authHeader,
    maxRawFrameBytes,
    maxClientFrameBytes,
    maxRawQueueBytes: config.rawQueueBytes,
    maxClientQueueBytes: config.queueBytes,
  })
  const { apiKey } = config
  const api = new ServerApi({ apiKey, maxMessageBytes, channels, node: () => node, metrics, log })

  const publicTransport = new UwsTransport({
    webSockets: handshakes.routes,
    http: [openApiRoute(version), api.route, ...plainHttpRoutes()],
    maxSockets: mostSockets(),
    onSocketRefused: () => metrics.connectionRejections.inc({ reason: 'descriptors' }),
    tls: certificate(config.tlsCert, config.tlsKey),
    onDefect: logDefect(log),
  })
  const node: Node = new Node(
    {
      id,
      version,
      publicListener: { host: config.host, port: config.port, isShared: isPortShared },
      drainDelayMs: config.drainDelay,
      drainWindowMs: config.drainWindow,
    },
    {
      hub,
      admission,
      wheel,
      broker,
      peers,
      presence,
      presenceKeeper,
      remoteKeys,
      publicTransport,
      metrics,
      log,
      closeRelay,
      ready,
    },
  )
  return { node, channels, metrics }
}

/** The listener for operators, still to be told to listen. */
export function composeInternalListener(config: Config, log: Logger, source: OperationsSource): Transport {
  return new UwsTransport({
    webSockets: [],
    http: operationsRoutes(source),
    maxSockets: MAX_INTERNAL_SOCKETS,
    onSocketRefused: () => log.warn({}, 'the internal listener has as many connections as it may'),
    tls: certificate(config.internalTlsCert, config.internalTlsKey),
    onDefect: logDefect(log),
  })
}

function rulesOf(namespace: NamespaceOptions = { ...DEFAULT_NAMESPACE_OPTIONS, name: '' }): ChannelRules {
  const { name, historyMetaTtlMs, deliveryDelayMs } = namespace
  return {
    namespace: name,
    metaTtlMs: keepsStream(namespace) ? historyMetaTtlMs : undefined,
    deliveryDelayMs,
  }
}

function logDefect(log: Logger) {
  return (error: unknown) => log.error({ err: error }, 'a callback failed')
}

function composeRelay(config: Config, id: string, log: Logger, metrics: Metrics): Relay {
  if (config.redisUrl === undefined) {
    return {
      broker: new MemoryBroker(),
      peers: new MemoryPeers(id),
      presenceStore: new MemoryPresenceStore(),
      shared: undefined,
      close: () => undefined,
    }
  }
  const link = new RedisLink({ url: config.redisUrl, queueBytes: config.relayQueueBytes, log, metrics })
  const keys = new Keys(config.redisPrefix)
  const onMalformed = () => metrics.relayMalformed.inc()
  const peers = new RedisPeers(id, link, keys, onMalformed)
  const presenceStore = new RedisPresenceStore(id, link, keys)
  link.start()
  return {
    broker: new RedisBroker(link, keys, onMalformed),
    peers,
    presenceStore,
    shared: { upkeep: presenceStore, nodes: peers },
    close: () => link.close(),
  }
}

/** What a WebSocket route says to a request that is none, and what everything else says. */
function plainHttpRoutes(): HttpRoute[] {
  const upgradeRequired = {
    status: 426,
    headers: { Upgrade: 'websocket', Connection: 'Upgrade' },
    body: 'This is a WebSocket endpoint.\n',
  }
  return [
    { path: '/ws/*', maxBodyBytes: 0, handle: () => upgradeRequired },
    { path: '/echo', maxBodyBytes: 0, handle: () => upgradeRequired },
    { path: '/connection/websocket', maxBodyBytes: 0, handle: () => upgradeRequired },
    { path: '/*', maxBodyBytes: 0, handle: () => ({ status: 404, body: 'Not found.\n' }) },
  ]
}

/** Exact enough for every heartbeat, and no more: an idle node's cost is mostly what wakes it. */
function wheelTickMs({ rawCheckInterval, pingInterval, pongTimeout, staleTimeout }: Config): number {
  const shortestMs = Math.min(rawCheckInterval, pingInterval, pongTimeout, staleTimeout)
  return Math.min(1_000, Math.max(20, shortestMs / 10))
}

function certificate(certPath: string | undefined, keyPath: string | undefined) {
  return certPath === undefined || keyPath === undefined ? undefined : { certPath, keyPath }
}
