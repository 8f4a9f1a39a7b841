import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'

/** A Lua script that Redis runs atomically: sent by its digest, and in full only where Redis doesn't know it. */
export class Script {
  private readonly sha1: string

  constructor(
    private readonly numberOfKeys: number,
    private readonly lua: string,
  ) {
    this.sha1 = createHash('sha1').update(lua).digest('hex')
  }

  /** Resolves with what the script returns; rejects with Redis' error. */
  async run(
    redis: Redis,
    keys: readonly string[],
    args: readonly (string | Buffer | number)[],
  ): Promise<unknown> {
    if (keys.length !== this.numberOfKeys) {
      throw new Error(`the script takes ${this.numberOfKeys} keys, not ${keys.length}`)
    }
    try {
      return await redis.evalsha(this.sha1, this.numberOfKeys, ...keys, ...args)
    } catch (error) {
      // As after a restart of Redis, which forgets all scripts.
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return redis.eval(this.lua, this.numberOfKeys, ...keys, ...args)
    }
  }
}
