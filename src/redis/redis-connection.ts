import { Redis } from 'ioredis'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'

export type RedisRole = 'publisher' | 'subscriber'

const CONNECT_TIMEOUT_MS = 2_000
const FIRST_RETRY_MS = 50
const MAX_RETRY_MS = 1_000

/** Half of a doubling delay is random, so that the nodes of a cluster do not reconnect to a restarted Redis in step. */
function retryDelayMs(attempt: number): number {
  const delay = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10))
  return delay / 2 + (Math.random() * delay) / 2
}

/** Splits the number of the database off an address: 0 where it names none. */
export function splitDatabase(url: string): { readonly server: string; readonly database: number } {
  const parsed = new URL(url)
  const database = Number(parsed.pathname.slice(1))
  parsed.pathname = ''
  return { server: parsed.href, database }
}

/**
 * Creates a connection that reconnects for ever, fails commands at once while it is down, and reports each change in the
 * log and in metrics.
 * @param url without a database: the library would go on in database 0 where Redis refuses another
 */
export function createRedisConnection(url: string, role: RedisRole, log: Logger, metrics: Metrics): Redis {
  const redis = new Redis(url, {
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
  const labels = { shard: '0', role }
  let isLogged = false
  let hasBeenReady = false
  metrics.redisUp.set(labels, 0)
  redis.on('ready', () => {
    isLogged = false
    metrics.redisUp.set(labels, 1)
    if (hasBeenReady) metrics.redisReconnects.inc(labels)
    hasBeenReady = true
    log.info({ role }, 'connected to Redis')
  })
  redis.on('error', (error: Error) => {
    if (isLogged) return
    isLogged = true
    log.warn({ role, error: error.message }, 'Redis cannot be reached; trying again until it can')
  })
  redis.on('close', () => metrics.redisUp.set(labels, 0))
  return redis
}
