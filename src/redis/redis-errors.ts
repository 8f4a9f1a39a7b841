/** Whether Redis answered with an error, as opposed to not answering. */
export function isRefusal(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

/** Whether Redis has not run a script because it does not know its digest. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

/** Whether a script has found another master than the one that this node has identified. It has changed nothing then. */
export function isOtherMaster(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('OTHERMASTER')
}

/** Whether a node of a Redis Cluster has not run a command, since another one has the slot of its keys, or is about to. */
export function isRedirection(error: unknown): error is Error {
  return error instanceof Error && /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(error.message)
}

/** Whether another server is the master of the slot. */
export function isMoved(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('MOVED')
}

/** Whether a Redis Cluster has no master for the slot, or does nothing since one is missing. */
export function isClusterDown(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('CLUSTERDOWN')
}

/** A Redis Cluster that was down took messages, which have reached a part of the subscribers, or none. */
export class ClusterDownError extends Error {
  override readonly name = 'ClusterDownError'
}

/** The connection leads to a replica: a command was not sent, or messages have reached only a part of the subscribers. */
export class ReplicaError extends Error {
  override readonly name = 'ReplicaError'
}

export function isReplicaError(error: unknown): error is ReplicaError {
  return error instanceof ReplicaError
}

/** Whether the reply comes from a server that is no master, or not one yet. */
export function isNotMaster(error: unknown): error is Error {
  return error instanceof Error && /^(?:READONLY|MASTERDOWN|LOADING)\b/.test(error.message)
}

/** Why Redis cannot do all that a node needs, as readiness and metrics name it. */
export type RedisReason =
  | 'redis_unreachable'
  | 'redis_replica'
  | 'redis_read_only'
  | 'redis_loading'
  | 'redis_out_of_memory'
  | 'redis_no_permission'
  | 'redis_no_database'
  | 'redis_cluster'
  | 'redis_too_old'
  | 'redis_identity_unknown'
  | 'redis_not_enough_replicas'
  | 'redis_persistence_failed'
  | 'redis_busy'
  | 'redis_unknown_command'
  | 'redis_lists_differ'
  | 'redis_error'

/** What an error reply means. The first pattern that matches counts. */
const REASONS: readonly (readonly [reason: RedisReason, pattern: RegExp])[] = [
  ['redis_read_only', /^READONLY\b/],
  ['redis_loading', /^(?:LOADING|MASTERDOWN)\b/],
  ['redis_out_of_memory', /\bOOM\b/],
  [
    'redis_no_permission',
    /^(?:NOPERM|NOAUTH|WRONGPASS)\b|The user executing the script|ACL failure in script/,
  ],
  ['redis_no_database', /^ERR (?:DB index|invalid DB index|SELECT is not allowed)/],
  ['redis_cluster', /^(?:CROSSSLOT|MOVED|ASK|CLUSTERDOWN)\b/],
  ['redis_not_enough_replicas', /^NOREPLICAS\b/],
  ['redis_persistence_failed', /^MISCONF\b/],
  ['redis_busy', /^BUSY\b/],
  ['redis_unknown_command', /^ERR (?:unknown command|syntax error)/i],
]

/** The reason label for a command that Redis refused, or did not answer. */
export function failureReason(error: unknown): RedisReason {
  if (isReplicaError(error)) return 'redis_replica'
  if (error instanceof ClusterDownError) return 'redis_cluster'
  if (!isRefusal(error)) return 'redis_unreachable'
  return REASONS.find(([, pattern]) => pattern.test(error.message))?.[0] ?? 'redis_error'
}
