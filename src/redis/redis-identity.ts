import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from './keys.js'
import type { RedisReason } from './redis-errors.js'
import { Script } from './script.js'

const identify = new Script('identify-1')

/** The oldest Redis that has the commands that nodes use: `SET … GET`, `GETDEL` and exclusive ranges. */
const LEAST_VERSION = [6, 2] as const

/** The server that a connection leads to. */
export interface RedisIdentity {
  readonly isReplica: boolean
  /** Names the time in which one master gives all offsets. Empty where Redis does not tell its replication id. */
  readonly era: string
  readonly replicationId: string
  /** Why this server cannot do all that nodes need, as readiness names it, with a sentence for the log. */
  readonly problem: { readonly reason: RedisReason; readonly message: string } | undefined
}

/** Asks a server who it is, and begins a new era where need be. Rejects with an error of ioredis. */
export async function readIdentity(redis: Redis, keys: Keys): Promise<RedisIdentity> {
  const reply = (await identify.run(redis, [keys.era()], [randomUUID()])) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    number,
  ]
  const [role, era, replicationId, version] = reply.slice(0, 4).map(String)
  const isCluster = reply[4] === 1
  return {
    isReplica: role === 'slave',
    era: era ?? '',
    replicationId: replicationId ?? '',
    problem: problemOf(replicationId ?? '', version ?? '', isCluster),
  }
}

function problemOf(replicationId: string, version: string, isCluster: boolean): RedisIdentity['problem'] {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_VERSION
  if (version !== '' && (major < leastMajor || (major === leastMajor && minor < leastMinor))) {
    const message = `Redis ${version} is too old: nodes need ${LEAST_VERSION.join('.')} or newer`
    return { reason: 'redis_too_old', message }
  }
  if (isCluster) {
    const message = 'this is a node of a Redis Cluster: nodes need one Redis, with or without replicas'
    return { reason: 'redis_cluster', message }
  }
  if (replicationId === '') {
    const message =
      'Redis does not tell its replication id; a failover that loses publications may go unnoticed'
    return { reason: 'redis_identity_unknown', message }
  }
  return undefined
}
