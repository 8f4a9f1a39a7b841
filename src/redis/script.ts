import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ChainableCommander, Redis } from 'ioredis'
import { isUnknownScript } from './redis-errors.js'

export type ScriptArgument = string | number | Buffer

/** A Lua script that Redis runs: by its digest, which is short, or in full, after which Redis knows the digest. */
export class Script {
  private readonly source: string
  private readonly digest: string

  /**
   * Loads `lua/<name>.lua`, once for the process. The name ends with the number of keys, where that is always the same.
   * @param functions name of the file whose functions the script uses
   */
  constructor(name: string, functions?: string) {
    this.source = `${functions === undefined ? '' : readLua(functions)}${readLua(name)}`
    this.digest = createHash('sha1').update(this.source).digest('hex')
  }

  /**
   * Runs the script by its digest, or in full if Redis does not know that, as after a restart. Strings in the reply are
   * Buffers. Rejects with an error of ioredis.
   */
  async run(redis: Redis, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    try {
      return await redis.callBuffer('EVALSHA', ...this.call(this.digest, keys, args))
    } catch (error) {
      if (!isUnknownScript(error)) throw error
      return redis.callBuffer('EVAL', ...this.call(this.source, keys, args))
    }
  }

  /**
   * Adds the script to a pipeline, which cannot wait to learn whether Redis knows the digest.
   * @param isInFull whether to send the source, which never fails for an unknown digest
   */
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
    return [script, keys.length, ...keys, ...args]
  }
}

function readLua(name: string): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
}
