import type { Redis } from 'ioredis'
import type { Logger } from '../log.js'

/**
 * The replication id of the master that a connection leads to, which changes on a promotion and on a restart. Empty
 * where Redis refuses to tell, and for a replica: it has its master's, and another one if it is promoted under this
 * connection. Rejects when the connection is lost.
 */
export async function readMasterId(redis: Redis, warn: (error: string) => void): Promise<string> {
  try {
    const info = await redis.info('replication')
    if (!/^role:master\b/m.test(info)) return ''
    return /^master_replid:(\w+)/m.exec(info)?.[1] ?? ''
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'ReplyError') throw error
    warn(error.message)
    return ''
  }
}

/** Says once that positions can't be bound to a master. */
export function warnOfUnknownMaster(log: Logger): (error: string) => void {
  let isSaid = false
  return (error) => {
    if (isSaid) return
    isSaid = true
    log.warn(
      { error },
      'Redis does not tell its replication id; a failover that loses publications may go unnoticed',
    )
  }
}
