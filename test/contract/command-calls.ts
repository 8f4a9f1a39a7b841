import type { Redis } from 'ioredis'

/** How often Redis has executed a command, by its name in lower case, including calls by scripts. */
export async function commandCalls(admin: Redis, command: string): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}
