import type { Redis } from 'ioredis'
import type { Logger } from '../log.js'

/**
 * Reads the replication id of the master that a connection leads to, which changes on a promotion and on a restart.
 * Resolves with an empty string where Redis refuses, and for a replica: a replica has the id of its master, and gets
 * another one if it is promoted under this connection. Rejects when the connection is lost.
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

/** Logs once that the identity of the master is unknown. */
export function warnOfUnknownMaster(log: Logger): (error: string) => void {
  let isLogged = false
  return (error) => {
    if (isLogged) return
    isLogged = true
    log.warn(
      { error },
      'Redis does not tell its replication id; a failover that loses publications may go unnoticed',
    )
  }
}
