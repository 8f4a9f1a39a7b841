import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { RedisServer } from '../deploy/local/redis-server.js'
import { ensureInstalled } from '../deploy/local/system-packages.js'
import { parseRedisAddress } from '../src/config/redis-address.js'
import { createLogger } from '../src/log.js'
import { Metrics } from '../src/metrics/metrics.js'
import { RedisPresenceStore } from '../src/presence/redis-presence-store.js'
import { ByteBudget } from '../src/redis/byte-budget.js'
import { Keys } from '../src/redis/keys.js'
import { RedisLink } from '../src/redis/redis-link.js'
import { wholeNumber } from './arguments.js'
import type { Cleanup } from './cleanup.js'
import { reportRequirements } from './requirements.js'
import { formatTable } from './table.js'

/** The most time of Redis that a `presence_stats` may take. */
const MAX_STATS_MS = 5
const CHANNEL = 'presence'
/** Clients that are added concurrently. */
const BATCH = 500
const CALLS = 1_000
/** Reads of the whole channel; what matters is how long one of their commands makes all other clients of Redis wait. */
const LISTS = 5

const SMOKE = { clients: '5000' }
const FULL = { clients: '100000' }

export const PRESENCE_USAGE = 'presence [--clients 100000] [--smoke]'

/** Time of Redis for one kind of call. */
interface Cost {
  call: string
  calls: number
  /** For each call, all of its commands together. */
  usPerCall: number
  /** The longest single command, which is how long other clients of Redis wait. */
  longestUs: number
}

/** Measures what presence costs Redis in a channel with many clients; returns the exit code. */
export async function runPresence(args: string[], cleanup: Cleanup): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { clients: { type: 'string' }, smoke: { type: 'boolean', default: false } },
  })
  const clients = wholeNumber('clients', values.clients ?? (values.smoke ? SMOKE : FULL).clients, 1_000_000)
  ensureInstalled(['redis-server'])
  const redis = await RedisServer.start(['--slowlog-log-slower-than', '0', '--slowlog-max-len', '1000000'])
  cleanup.defer(() => redis.remove())
  const store = openStore(redis.url, cleanup)
  const observer = new Redis(redis.url)
  cleanup.defer(() => observer.quit())

  console.log(`adding ${clients} clients`)
  const ids = Array.from({ length: clients }, () => randomUUID())
  const infoOf = (client: string) => ({ client, user: client, connInfo: undefined, chanInfo: undefined })
  const costs = [
    await measure(observer, 'join', clients, async () => {
      for (let at = 0; at < clients; at += BATCH) {
        await Promise.all(ids.slice(at, at + BATCH).map((id) => store.add(CHANNEL, infoOf(id))))
      }
    }),
    await measure(observer, 'presence_stats', CALLS, async () => {
      for (let call = 0; call < CALLS; call += 1) {
        const { clients: counted, users } = await store.stats(CHANNEL)
        if (counted !== clients || users !== clients) {
          throw new Error(`counted ${counted} clients, ${users} users`)
        }
      }
    }),
    await measure(observer, 'presence', LISTS, async () => {
      for (let call = 0; call < LISTS; call += 1) {
        const { size } = await store.list(CHANNEL)
        if (size !== clients) throw new Error(`listed ${size} clients`)
      }
    }),
    await measure(observer, 'leave', CALLS, async () => {
      for (const id of ids.slice(0, CALLS)) await store.remove(CHANNEL, infoOf(id))
    }),
  ]
  return report(costs, clients, values.smoke)
}

function openStore(redisUrl: string, cleanup: Cleanup): RedisPresenceStore {
  const log = createLogger({ level: 'silent', format: 'json' })
  const metrics = new Metrics('load')
  const keys = new Keys('load')
  const link = new RedisLink({
    address: parseRedisAddress(redisUrl),
    certificates: {},
    keys,
    shard: '0',
    budget: new ByteBudget(1024 ** 2, () => undefined),
    log,
    metrics,
  })
  link.start()
  cleanup.defer(() => Promise.resolve(link.close()))
  return new RedisPresenceStore(randomUUID(), link, keys)
}

async function measure(
  observer: Redis,
  call: string,
  calls: number,
  run: () => Promise<void>,
): Promise<Cost> {
  await observer.config('RESETSTAT')
  await observer.slowlog('RESET')
  await run()
  const usPerCall = sumOfCommandsUs(await observer.info('commandstats')) / calls
  const entries = (await observer.slowlog('GET', -1)) as [unknown, unknown, number, string[]][]
  const longestUs = entries.reduce(
    (longest, [, , us, [command]]) => (isOfStore(command) ? Math.max(longest, us) : longest),
    0,
  )
  return { call, calls, usPerCall, longestUs }
}

/** Whether a command comes from the store, and not from the measurement. */
function isOfStore(command = ''): boolean {
  return !/^(config|slowlog|info)/i.test(command)
}

/** The time of a script includes that of its commands, which are therefore left out. */
function sumOfCommandsUs(commandStats: string): number {
  const times = new Map<string, number>()
  for (const [, command = '', us] of commandStats.matchAll(/^cmdstat_([^:]+):calls=\d+,usec=(\d+)/gm)) {
    if (isOfStore(command)) times.set(command, Number(us))
  }
  const scripts = (times.get('eval') ?? 0) + (times.get('evalsha') ?? 0)
  if (scripts > 0) return scripts
  return [...times.values()].reduce((sum, us) => sum + us, 0)
}

function report(costs: readonly Cost[], clients: number, isSmoke: boolean): number {
  const head = ['call', 'calls', 'µs of Redis', 'longest command, µs']
  const rows = costs.map(({ call, calls, usPerCall, longestUs }) => [
    call,
    String(calls),
    usPerCall.toFixed(1),
    String(longestUs),
  ])
  console.log(`\na channel with ${clients} clients\n\n${formatTable([head, ...rows])}\n`)
  const stats = costs.find(({ call }) => call === 'presence_stats')
  const requirement = {
    text: `presence_stats takes less than ${MAX_STATS_MS} ms of Redis`,
    isMet: stats !== undefined && stats.usPerCall < MAX_STATS_MS * 1000,
    appliesToSmoke: true,
  }
  return reportRequirements([requirement], isSmoke)
}
