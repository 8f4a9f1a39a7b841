import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Authenticator } from './auth/authenticator.js'
import { JwtVerifier, MAX_TOKEN_BYTES } from './auth/jwt-verifier.js'
import { OriginPolicy } from './auth/origins.js'
import { RemoteKeys } from './auth/remote-keys.js'
import { TokenAuthenticator } from './auth/token-authenticator.js'
import {
  DEFAULT_NAMESPACE_OPTIONS,
  keepsStream,
  type NamespaceOptions,
  Namespaces,
} from './channel/namespaces.js'
import { composeRelay, type RedisRelayOptions } from './compose-relay.js'
import { MAX_INTERNAL_SOCKETS, socketCapacity } from './config/descriptor-limit.js'
import { parseRedisAddresses } from './config/redis-address.js'
import type { Config } from './config/settings.js'
import { ConnectionSlots } from './connection/connection-slots.js'
import { Connections } from './connection/connections.js'
import { TimerWheel } from './connection/timer-wheel.js'
import { openApiRoute } from './http/openapi.js'
import { type OperationsSource, operationsRoutes } from './http/operations.js'
import { ServerApi } from './http/server-api.js'
import { Channels } from './hub/channels.js'
import type { BroadcastToTopic } from './hub/fan-out.js'
import { Hub } from './hub/hub.js'
import type { ChannelRules } from './hub/local-channel.js'
import type { Logger } from './log.js'
import { Metrics } from './metrics/metrics.js'
import { Node, type NodeMembership } from './node/node.js'
import { PresenceAnnouncer } from './presence/presence-announcer.js'
import { PresenceKeeper } from './presence/presence-keeper.js'
import type { PresenceChange } from './presence/presence-store.js'
import type { RedisCertificates } from './redis/redis-connection.js'
import { Handshakes } from './session/handshakes.js'
import type { Hooks } from './session/hooks.js'
import type { HttpRoute, Transport } from './transport/transport.js'
import { UwsTransport } from './transport/uws/uws-transport.js'
import { packageVersion } from './version.js'

/**
 * Bytes above the limit that a message may have and still be read, so that its sender receives an error: for a larger
 * one the transport ends the connection before the message is buffered.
 */
const OVERSIZE_MARGIN_BYTES = 64 * 1024
/**
 * Bytes of a `subscribe` command: its token, and all else. SDKs that reconnect send one for each channel in one frame.
 */
const MAX_SUBSCRIBE_BYTES = MAX_TOKEN_BYTES + 1024
/**
 * Joins and leaves of a client that may be pending, for each channel that it may be in: enough for a client that leaves
 * all its channels and rejoins them at once.
 */
const PRESENCE_CHANGES_PER_CHANNEL = 2

export interface ComposeOptions {
  readonly config: Config
  readonly log: Logger
  /** Whether other processes listen on the same public port. */
  readonly isPortShared: boolean
  /** Hooks of an embedding application. */
  readonly hooks?: Hooks
  /** Called once, with the public port, when the node receives its own probe for the first time. */
  readonly ready: (port: number) => void
}

export interface ComposedNode {
  readonly node: Node
  readonly channels: Channels
  readonly metrics: Metrics
}

/**
 * Wires a node from its configuration: only this module picks implementations. Throws an error with a one-line message
 * where the native library has no binary for this system.
 */
export function composeNode({ config, log, isPortShared, hooks = {}, ready }: ComposeOptions): ComposedNode {
  const id = randomUUID()
  const version = packageVersion()
  const metrics = new Metrics(version)
  const relay = composeRelay({ id, redis: redisOptions(config), log, metrics })
  const { broker, peers, presenceStore, sharedPresence } = relay

  const publicTransport = new UwsTransport({
    maxSockets: socketCapacity(),
    onSocketRefused: () => metrics.connectionRejections.inc({ reason: 'descriptors' }),
    tls: certificate(config.tlsCert, config.tlsKey),
    onDefect: logDefect(log),
  })

  const namespaces = new Namespaces(config.namespaces)
  const connections = new Connections()
  const slots = new ConnectionSlots(config.maxConnections)
  const wheel = new TimerWheel(undefined, wheelTickMs(config), (lateMs) =>
    metrics.eventLoopLag.observe(lateMs),
  )
  const broadcastToTopic: BroadcastToTopic = (...frame) => publicTransport.broadcast(...frame)
  const hub = new Hub({
    connections,
    broker,
    broadcastToTopic,
    metrics,
    rulesOf: (channel) => rulesOf(namespaces.of(channel)),
    busyDeliveryDelayMs: config.busyDeliveryDelay,
    onDefect: (error) => log.error({ err: error }, 'repairing a gap failed'),
  })
  const { maxHistoryPublications } = config
  const channels = new Channels({
    namespaces,
    broker,
    presenceStore,
    maxHistoryPublications,
    metrics,
    log,
  })

  const maxPresenceChanges = PRESENCE_CHANGES_PER_CHANNEL * config.maxChannelsPerConnection
  const presenceAnnouncer = new PresenceAnnouncer(presenceStore, broker, log, maxPresenceChanges)
  const report = async (change: PresenceChange): Promise<void> => {
    if (namespaces.of(change.channel)?.joinLeave === true) await presenceAnnouncer.report(change)
  }
  const memberships: readonly NodeMembership[] =
    sharedPresence.length === 0
      ? [{ membership: peers, presenceKeeper: undefined }]
      : sharedPresence.map(({ upkeep, nodes }) => ({
          membership: nodes,
          presenceKeeper: new PresenceKeeper(upkeep, nodes, report, log),
        }))

  const remoteKeys = composeRemoteKeys(config, log, metrics)
  const authenticator = composeAuthenticator(config, remoteKeys)
  const sessionContext = { connections, hub, slots, channels, presenceAnnouncer, wheel, metrics, log }
  const { maxMessageBytes } = config
  const reconnectBytes = config.maxChannelsPerConnection * MAX_SUBSCRIBE_BYTES
  const maxClientFrameBytes = Math.max(maxMessageBytes, reconnectBytes) + OVERSIZE_MARGIN_BYTES
  const handshakes = new Handshakes({
    raw: {
      ...sessionContext,
      maxMessageBytes,
      heartbeat: { checkIntervalMs: config.rawCheckInterval, timeoutMs: config.rawTimeout },
    },
    centrifuge: {
      ...sessionContext,
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
    maxRawFrameBytes: maxMessageBytes + OVERSIZE_MARGIN_BYTES,
    maxClientFrameBytes,
    maxRawQueueBytes: config.rawQueueBytes,
    maxClientQueueBytes: config.queueBytes,
  })

  const node = new Node(
    {
      id,
      version,
      publicListener: { host: config.host, port: config.port, isShared: isPortShared },
      drainDelayMs: config.drainDelay,
      drainWindowMs: config.drainWindow,
    },
    {
      connections,
      hub,
      slots,
      wheel,
      broker,
      peers,
      presenceAnnouncer,
      memberships,
      remoteKeys,
      publicTransport,
      metrics,
      log,
      relay,
      ready,
    },
  )
  const api = new ServerApi({ apiKey: config.apiKey, maxMessageBytes, channels, node, metrics, log })
  publicTransport.addRoutes({
    webSockets: handshakes.routes,
    http: [openApiRoute(version), api.route, ...plainHttpRoutes()],
  })
  return { node, channels, metrics }
}

/** Creates the internal listener, for operators. The caller starts it by `listen`. */
export function composeInternalListener(config: Config, log: Logger, source: OperationsSource): Transport {
  const transport = new UwsTransport({
    maxSockets: MAX_INTERNAL_SOCKETS,
    onSocketRefused: () => log.warn({}, 'the internal listener has as many connections as it may'),
    tls: certificate(config.internalTlsCert, config.internalTlsKey),
    onDefect: logDefect(log),
  })
  transport.addRoutes({ webSockets: [], http: operationsRoutes(source) })
  return transport
}

function composeRemoteKeys(config: Config, log: Logger, metrics: Metrics): RemoteKeys | undefined {
  if (config.authJwksUrl === undefined) return undefined
  return new RemoteKeys(config.authJwksUrl, log, (keys) => metrics.countKeyFetch(keys))
}

function composeAuthenticator(config: Config, remoteKeys: RemoteKeys | undefined): Authenticator {
  return new TokenAuthenticator({
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

function redisOptions(config: Config): RedisRelayOptions | undefined {
  if (config.redisUrl === undefined) return undefined
  return {
    addresses: parseRedisAddresses(config.redisUrl),
    certificates: redisCertificates(config),
    prefix: config.redisPrefix,
    queueBytes: config.relayQueueBytes,
  }
}

function redisCertificates({ redisTlsCa, redisTlsCert, redisTlsKey }: Config): RedisCertificates {
  return {
    ...(redisTlsCa !== undefined && { ca: readFileSync(redisTlsCa) }),
    ...(redisTlsCert !== undefined && { cert: readFileSync(redisTlsCert) }),
    ...(redisTlsKey !== undefined && { key: readFileSync(redisTlsKey) }),
  }
}

/** The responses to plain HTTP requests: 426 on the paths of WebSocket routes, 404 on every unknown path. */
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

/**
 * A tenth of the shortest interval, which is precise enough for every heartbeat. A shorter tick would only wake the
 * process more often, and that is most of what an idle node costs.
 */
function wheelTickMs({ rawCheckInterval, pingInterval, pongTimeout, staleTimeout }: Config): number {
  const shortestMs = Math.min(rawCheckInterval, pingInterval, pongTimeout, staleTimeout)
  return Math.min(1_000, Math.max(20, shortestMs / 10))
}

function certificate(certPath: string | undefined, keyPath: string | undefined) {
  return certPath === undefined || keyPath === undefined ? undefined : { certPath, keyPath }
}
