import { Redis } from 'ioredis'
import type { RedisAddress } from '../config/redis-address.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { setDeadline } from './deadline.js'

export type RedisRole = 'publisher' | 'subscriber'

const CONNECT_TIMEOUT_MS = 2_000
const FIRST_RETRY_MS = 50
const MAX_RETRY_MS = 1_000

/** Half of a doubling delay is random, so that the nodes of a cluster do not reconnect to a restarted Redis in step. */
function retryDelayMs(attempt: number): number {
  const delay = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10))
  return delay / 2 + (Math.random() * delay) / 2
}

/** What encrypted connections check and show, as PEM. */
export interface RedisCertificates {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

export interface RedisConnectionOptions {
  /** Names the Redis, or the server of a Redis Cluster, among those of a node. */
  readonly shard: string
  readonly address: RedisAddress
  readonly certificates: RedisCertificates
  readonly log: Logger
  readonly metrics: Metrics
}

/** The address, as the library takes it, without its database: where Redis refuses one, the library goes on in database 0. */
function addressOptions({ target, username, password, isTls }: RedisAddress, tls: RedisCertificates) {
  const options = {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(isTls && { tls }),
  }
  switch (target.type) {
    case 'cluster':
      throw new Error('a connection leads to one server of a Redis Cluster')
    case 'host':
      return { ...options, host: target.host, port: target.port }
    case 'socket':
      return { ...options, path: target.path }
    case 'sentinel':
      return {
        ...options,
        sentinels: [...target.sentinels],
        name: target.masterName,
        ...(target.username !== undefined && { sentinelUsername: target.username }),
        ...(target.password !== undefined && { sentinelPassword: target.password }),
        ...(isTls && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
        sentinelRetryStrategy: retryDelayMs,
        sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
      }
  }
}

/**
 * Creates a connection that reconnects for ever, fails commands at once while it is down, and reports each change in the
 * log and in metrics. It uses no database: the caller selects it.
 */
export function createRedisConnection(
  { shard, address, certificates, log, metrics }: RedisConnectionOptions,
  role: RedisRole,
): Redis {
  const redis = new Redis({
    ...addressOptions(address, certificates),
    lazyConnect: true,
    connectionName: `fanfare:${role}`,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: retryDelayMs,
    // RedisLink identifies the server in one round trip, which also shows whether it is loading.
    enableReadyCheck: false,
    // RedisLink decides what a lost connection means: it knows deadlines, and which commands may be repeated.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: null,
  })
  const labels = { shard, role }
  let isLogged = false
  let hasBeenReady = false
  let isForgotten = false
  const setUp = (value: number) => {
    if (!isForgotten) metrics.redisUp.set(labels, value)
  }
  redis.on('connecting', () => setUp(0))
  redis.on('ready', () => {
    isLogged = false
    setUp(1)
    if (hasBeenReady) metrics.redisReconnects.inc(labels)
    hasBeenReady = true
    log.info({ shard, role }, 'connected to Redis')
  })
  redis.on('error', (error: Error) => {
    if (isLogged) return
    isLogged = true
    log.warn({ shard, role, error: error.message }, 'Redis cannot be reached; trying again until it can')
  })
  redis.on('close', () => setUp(0))
  // The library emits no `end` for a connection that is closed while it waits to be made anew.
  const { disconnect } = redis
  redis.disconnect = (reconnect = false) => {
    if (!reconnect) {
      isForgotten = true
      metrics.redisUp.remove(labels)
    }
    disconnect.call(redis, reconnect)
  }
  // The library also ends where it is to connect anew while it still asks a Sentinel for the address.
  redis.on('end', () => {
    const connectAgain = () => {
      if (!isForgotten) redis.connect().catch(() => undefined)
    }
    if (!isForgotten) setTimeout(connectAgain, retryDelayMs(1))
  })
  // The library has no deadline for what it sends first, which something may accept on the way and never pass on.
  let cancelDeadline: () => void = () => undefined
  redis.on('connect', () => {
    cancelDeadline = setDeadline(CONNECT_TIMEOUT_MS, () => redis.disconnect(true))
  })
  redis.on('ready', () => cancelDeadline())
  redis.on('close', () => cancelDeadline())
  surviveFurtherErrors(redis)
  return redis
}

/**
 * The library handles one error of a socket; a further one, as of TLS, would end the process. The socket exists by the end
 * of the iteration that begins to connect, but for one whose address a Sentinel has to tell first.
 */
function surviveFurtherErrors(redis: Redis): void {
  const ignoreFurtherErrors = () => redis.stream?.on('error', () => undefined)
  redis.on('connecting', () => setImmediate(ignoreFurtherErrors))
  redis.on('connect', ignoreFurtherErrors)
}

/** Creates a connection that asks one server a few things, and does not reconnect. */
export function createQueryConnection({
  address,
  certificates,
}: Pick<RedisConnectionOptions, 'address' | 'certificates'>): Redis {
  const redis = new Redis({
    ...addressOptions(address, certificates),
    lazyConnect: true,
    connectionName: 'fanfare:query',
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: null,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
  })
  // The commands that are sent over it fail too, and their callers know what that means.
  redis.on('error', () => undefined)
  surviveFurtherErrors(redis)
  return redis
}
