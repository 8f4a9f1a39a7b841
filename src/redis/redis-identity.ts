import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from './keys.js'
import type { RedisReason } from './redis-errors.js'
import { Script } from './script.js'

const identify = new Script('identify')

/** The oldest Redis that has the commands that nodes use: `SET … GET`, `GETDEL` and exclusive ranges. */
const LEAST_VERSION = [6, 2] as const
/** The oldest Redis Cluster that has pub/sub in slots. */
const LEAST_CLUSTER_VERSION = [7, 0] as const

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
  const eraKeys = keys.isCluster ? [] : [keys.era()]
  const reply = (await identify.run(redis, eraKeys, [randomUUID()])) as [
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
    problem: problemOf(replicationId ?? '', version ?? '', isCluster, keys.isCluster),
  }
}

function problemOf(
  replicationId: string,
  version: string,
  isCluster: boolean,
  expectsCluster: boolean,
): RedisIdentity['problem'] {
  const least = expectsCluster ? LEAST_CLUSTER_VERSION : LEAST_VERSION
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (version !== '' && (major < least[0] || (major === least[0] && minor < least[1]))) {
    const needs = `${expectsCluster ? 'a Redis Cluster needs' : 'nodes need'} ${least.join('.')} or newer`
    return { reason: 'redis_too_old', message: `Redis ${version} is too old: ${needs}` }
  }
  if (isCluster && !expectsCluster) {
    const message = 'this is a node of a Redis Cluster: its address begins with redis+cluster://'
    return { reason: 'redis_cluster', message }
  }
  if (replicationId === '') {
    const message =
      'Redis does not tell its replication id; a failover that loses publications may go unnoticed'
    return { reason: 'redis_identity_unknown', message }
  }
  return undefined
}
