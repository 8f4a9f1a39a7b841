import { createHash } from 'node:crypto'
import type { ChainableCommander, Redis } from 'ioredis'

export type ScriptArgument = string | number | Buffer

/** A Lua script that Redis runs: by its digest, which is short, or in full, after which Redis knows the digest. */
export class Script {
  private readonly digest: string

  constructor(
    private readonly keyCount: number,
    private readonly source: string,
  ) {
    this.digest = createHash('sha1').update(source).digest('hex')
  }

  /** Runs it by its digest, or in full if Redis does not know that, as after a restart. Texts in the reply are Buffers. */
  async run(redis: Redis, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    try {
      return await redis.callBuffer('EVALSHA', ...this.call(this.digest, keys, args))
    } catch (error) {
      if (!isUnknownScript(error)) throw error
      return redis.callBuffer('EVAL', ...this.call(this.source, keys, args))
    }
  }

  /** Adds it to a pipeline, where it can't be known in time whether Redis knows the digest. */
  addTo(
    pipeline: ChainableCommander,
    keys: readonly string[],
    args: readonly ScriptArgument[],
    isInFull: boolean,
  ): void {
    if (isInFull) pipeline.eval(...this.call(this.source, keys, args))
    else pipeline.evalsha(...this.call(this.digest, keys, args))
  }

  private call(
    script: string,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): [string, number, ...ScriptArgument[]] {
    return [script, this.keyCount, ...keys, ...args]
  }
}

/** Whether Redis has not run a script because it does not know its digest. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}
