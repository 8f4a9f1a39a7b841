import type { Redis } from 'ioredis'
import { NODE_TIMEOUT_MS } from '../../contract/redis-topologies.js'
import type { Fault, FaultContext } from '../fault.js'
import { chosen } from './choices.js'

const MASTERS = [0, 1, 2] as const
const BETWEEN_MOVES = 60
/** Acknowledged by the Redis that is left: publishers that try the other one wait up to 2 s for each refusal. */
const BESIDE_AN_OUTAGE = 5
const BESIDE_TIMEOUT_MS = 30_000

/** What happens where channels are spread over several Redis, or over the masters of a Redis Cluster. */
export const SHARDING_FAULTS: readonly Fault[] = [
  {
    name: 'cluster-slot-move',
    summary: 'The slot of each channel moves to another master with its keys.',
    topologies: ['cluster'],
    epochs: 'ended',
    history: 'kept',
    lastsMs: 5_000,
    bars: { hearSilenceMs: 8_000 },
    inject: moveSlots,
  },
  {
    name: 'cluster-master-kill',
    summary:
      'A master of the Redis Cluster is killed, its replica is promoted, and it comes back as a replica.',
    topologies: ['cluster'],
    epochs: 'either',
    history: 'lost',
    lastsMs: 10_000,
    bars: { hearSilenceMs: NODE_TIMEOUT_MS + 20_000, ready: ['degraded'] },
    inject: async ({ redis, random, until, acknowledged, shape }) => {
      const index = chosen(MASTERS, random)
      await redis.server(index).stop()
      await until(
        async () => (await redis.admin(index + MASTERS.length).info('replication')).includes('role:master'),
        'the replica is promoted',
      )
      await acknowledged(shape.before)
      await redis.server(index).startAgain()
    },
  },
  {
    name: 'shard-killed',
    summary: 'One of two independent Redis is killed and started again empty, while the other goes on.',
    topologies: ['several'],
    epochs: 'either',
    history: 'lost',
    lastsMs: 5_000,
    bars: { publishSilenceMs: 15_000, hearSilenceMs: 30_000, ready: ['degraded'] },
    inject: async ({ redis, acknowledged }) => {
      await redis.server(1).stop()
      await acknowledged(BESIDE_AN_OUTAGE, BESIDE_TIMEOUT_MS)
      await redis.server(1).startAgain()
    },
  },
]

async function moveSlots({ redis, channels, attempted }: FaultContext): Promise<void> {
  for (const channel of channels) {
    for (const master of MASTERS) {
      const slot = await slotOf(redis.admin(master), channel)
      if (slot === undefined) continue
      await redis.cluster.moveSlot(slot, master, (master + 1) % MASTERS.length)
      break
    }
    await attempted(BETWEEN_MOVES)
  }
}

/** The slot of a channel's keys, where a master has any. */
async function slotOf(admin: Redis, channel: string): Promise<number | undefined> {
  const keys = await admin.keys(`*stream*{*${channel}}*`)
  const [key] = keys
  return key === undefined ? undefined : Number(await admin.call('CLUSTER', 'KEYSLOT', key))
}
