import type { Fault } from '../fault.js'

const FREEZE_MS = 5_000
const REFUSAL_MS = 4_000
const BUSY_MS = 3_000
/** How much Redis may grow before it evicts, and how large publications are then. */
const SPARE_BYTES = 1_000_000
const LARGE_BYTES = 4_000
const LARGE_PUBLICATIONS = 600

/** What happens to a Redis that has no replica. */
export const REDIS_FAULTS: readonly Fault[] = [
  {
    name: 'redis-freeze',
    summary: 'Redis is frozen (SIGSTOP) for 5 s.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: FREEZE_MS,
    // A publish is answered within 2 s, on a machine that is not busy.
    bars: { answerMs: 3_500, publishSilenceMs: FREEZE_MS + 5_000, ready: ['degraded', 'relay_silent'] },
    inject: async ({ redis, last }) => {
      redis.server(0).freeze()
      await last(FREEZE_MS)
      redis.server(0).resume()
    },
  },
  {
    name: 'redis-restart-empty',
    summary: 'Redis is killed, and started again without its data.',
    topologies: ['one'],
    epochs: 'ended',
    history: 'lost',
    lastsMs: 3_000,
    bars: { publishSilenceMs: 10_000, hearSilenceMs: 15_000, ready: ['redis_unreachable'] },
    inject: async ({ redis, attempted, shape }) => {
      await redis.server(0).stop()
      await attempted(shape.before / 4)
      await redis.server(0).startAgain()
    },
  },
  {
    name: 'redis-restart-aof',
    summary:
      'Redis with `appendonly yes` and `appendfsync always` is killed, and started again with its data.',
    topologies: ['one'],
    epochs: 'ended',
    history: 'kept',
    lastsMs: 3_000,
    bars: { publishSilenceMs: 10_000, hearSilenceMs: 15_000 },
    redisArgs: ['--appendonly', 'yes', '--appendfsync', 'always'],
    inject: async ({ redis, attempted, shape }) => {
      await redis.server(0).stop()
      await attempted(shape.before / 4)
      await redis.server(0).startAgain()
    },
  },
  {
    name: 'redis-out-of-memory',
    summary: 'Redis has more data than `maxmemory` for 4 s, and refuses to write (`noeviction`).',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: REFUSAL_MS,
    bars: { publishSilenceMs: REFUSAL_MS + 4_000, ready: ['redis_out_of_memory'] },
    inject: async ({ redis, last }) => {
      await redis.admin(0).config('SET', 'maxmemory', 1)
      await last(REFUSAL_MS)
      await redis.admin(0).config('SET', 'maxmemory', 0)
    },
  },
  {
    name: 'redis-eviction',
    summary: 'Redis evicts what was used least recently (`allkeys-lru`), streams and positions among it.',
    topologies: ['one'],
    epochs: 'either',
    history: 'evicted',
    lastsMs: 5_000,
    bars: {},
    inject: async ({ redis, attempted, pad }) => {
      const admin = redis.admin(0)
      const used = Number(/^used_memory:(\d+)/m.exec(await admin.info('memory'))?.[1])
      await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
      await admin.config('SET', 'maxmemory', used + SPARE_BYTES)
      pad(LARGE_BYTES)
      await attempted(LARGE_PUBLICATIONS)
      pad(0)
      await admin.config('SET', 'maxmemory', 0)
    },
  },
  {
    name: 'redis-flushed',
    summary: 'Somebody sends FLUSHALL.',
    topologies: ['one'],
    epochs: 'ended',
    history: 'lost',
    lastsMs: 0,
    bars: { hearSilenceMs: 10_000 },
    inject: async ({ redis }) => {
      await redis.admin(0).flushall()
    },
  },
  {
    name: 'redis-busy',
    summary: 'A script of somebody else keeps Redis busy for 3 s, until it is killed.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: BUSY_MS,
    bars: { publishSilenceMs: BUSY_MS + 5_000, ready: ['redis_busy'] },
    redisArgs: ['--busy-reply-threshold', '200'],
    inject: async ({ redis, last }) => {
      const admin = redis.admin(0)
      const other = admin.duplicate()
      // Its answer is that it was killed.
      const endless = other.eval('while true do end', 0).catch(() => undefined)
      await last(BUSY_MS)
      await admin.script('KILL')
      await endless
      other.disconnect()
    },
  },
]
