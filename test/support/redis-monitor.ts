import { Redis } from 'ioredis'
import { expect } from 'vitest'
import { afterThisTest } from './clean-ups.js'
import { POLL_OPTIONS } from './poll-options.js'

/** A command that Redis has executed, by a script too: its name in upper case, and its arguments. */
export interface RedisCommand {
  readonly name: string
  readonly args: readonly string[]
}

/** Records the commands of a Redis until the test ends. */
export class RedisMonitor {
  readonly commands: RedisCommand[] = []

  static async of(url: string): Promise<RedisMonitor> {
    const recorder = new RedisMonitor()
    const redis = new Redis(url)
    afterThisTest(() => redis.disconnect())
    const monitor = await redis.monitor()
    afterThisTest(() => monitor.disconnect())
    monitor.on('monitor', (_time: string, [name = '', ...args]: string[]) => {
      recorder.commands.push({ name: name.toUpperCase(), args })
    })
    return recorder
  }

  /** Resolves with the index of the first match at `from` or later. Rejects with `what` after the timeout of a poll. */
  async indexOf(isMatch: (command: RedisCommand) => boolean, from: number, what: string): Promise<number> {
    const find = () => this.commands.findIndex((command, index) => index >= from && isMatch(command))
    await expect.poll(find, { ...POLL_OPTIONS, message: what }).toBeGreaterThanOrEqual(0)
    return find()
  }
}
